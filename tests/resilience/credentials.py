"""What a client inside a server has: that server's certificate and key, and the passwords of the inventory."""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import labtools as lab
import yaml

from resilience import netns

PKI = "/etc/neural/pki"
NAMES = ("ca.crt", "host.crt", "host.key")
# How often servers are looked at for new files, while they are followed.
FOLLOW_SECONDS = 0.5


class HostFiles(NamedTuple):
    """Copies of a server's TLS files."""

    ca: Path
    certificate: Path
    key: Path


class Credentials:
    """Keeps copies in a directory that only this user can read. A server must run when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory
        self._files: dict[str, HostFiles] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def files(self, host: str) -> HostFiles:
        """Return the copies of a server's certificate authority, certificate and key."""
        with self._lock:
            if host not in self._files:
                paths = []
                for name in NAMES:
                    path = self._directory / f"{host}.{name}"
                    path.touch(mode=0o600)
                    path.write_text(lab.on(host, "cat", f"{PKI}/{name}"))
                    paths.append(path)
                self._files[host] = HostFiles(*paths)
            return self._files[host]

    def context(self, host: str) -> ssl.SSLContext:
        """Return what verifies a server of the platform and shows it this server's certificate."""
        files = self.files(host)
        if host not in self._contexts:
            context = ssl.create_default_context(cafile=str(files.ca))
            context.load_cert_chain(files.certificate, files.key)
            self._contexts[host] = context
        return self._contexts[host]

    def refresh(self) -> None:
        """Take over what servers have by now; a server that is down is left as it was."""
        with self._lock:
            for host, files in self._files.items():
                with suppress(OSError):
                    there = Path(f"/proc/{netns.pid(host)}/root{PKI}")
                    texts = [(there / name).read_text() for name in NAMES]
                    if texts != [path.read_text() for path in files]:
                        for path, text in zip(files, texts, strict=True):
                            path.write_text(text)
                        self._contexts.pop(host, None)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Take over new files of servers all along, as a program does that reads them with every connection."""
        end = threading.Event()

        def follow() -> None:
            while not end.wait(FOLLOW_SECONDS):
                self.refresh()

        thread = threading.Thread(target=follow, name="credentials", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            self.refresh()

    def secret(self, name: str) -> str:
        """Return a secret of the inventory as it is now: `neural_redis_password`, `neural_api_keys[0]`…"""
        return lab.inventory_secrets()[name]


@functools.cache
def members(group: str) -> tuple[str, ...]:
    """Return the servers of a group of the lab's inventory."""
    groups = yaml.safe_load((lab.INVENTORY / "01-groups.yml").read_text())["neural"]["children"]
    return tuple(groups[group]["hosts"])
