"""What the rotation of certificates, and the change of the authority, have to do: every port is asked for its own."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from typing import TYPE_CHECKING

import labtools as lab

from resilience import netns
from resilience.credentials import PKI, members
from rolling import images

if TYPE_CHECKING:
    from rolling.operation import Check, Seen

AUTHORITIES = lab.INVENTORY / "ca.crt"
NEXT_KEY = lab.INVENTORY / "ca-next.key"
# What listens with the host's certificate, by group, and how PostgreSQL is asked for TLS.
PORTS = {
    "registry": (5000,),
    "etcd": (2379, 2380),
    "patroni": (8008, 5432),
    "redis": (6379, 26379),
    "haproxy": (7000,),
    "neural_api": (8000,),
    "neural_dashboard": (8050,),
    "nginx": (443,),
}
POSTGRESQL, POSTGRESQL_REQUEST = 5432, bytes((0, 0, 0, 8, 4, 210, 22, 47))
# Of the API's and of the dashboard's instances, on loopback; an instance may be in any slot.
SLOTS = {"neural_api": (8001, 8002, 8003, 8004), "neural_dashboard": (8051, 8052)}
# What cannot load a certificate while it runs; and etcd not whom to trust.
REPLACED = r"/neural-((api|dashboard)-\d+|sentinel|registry)$"
REPLACED_FOR_AUTHORITY = r"/neural-((api|dashboard)-\d+|sentinel|registry|etcd)$"

# By host and port, what was presented before an operation; and whom clients trusted.
before: dict[str, str] = {}
trusted_before: list[str] = []


def fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def authorities() -> list[str]:
    """Return the fingerprints of the authorities that the controller's file has."""
    found = re.findall(
        "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", AUTHORITIES.read_text(), flags=re.DOTALL
    )
    return [fingerprint(ssl.PEM_cert_to_DER_cert(pem)) for pem in found]


def presented(host: str) -> dict[str, str]:
    """Return what every port of a server presents to a client that trusts the controller's file. Raises OSError."""
    pki = f"/proc/{netns.pid(host, refresh=True)}/root{PKI}"
    context = ssl.create_default_context(cafile=str(AUTHORITIES))
    context.load_cert_chain(f"{pki}/host.crt", f"{pki}/host.key")

    def ask(address: str, port: int) -> str:
        with socket.create_connection((address, port), 5) as plain:
            if port == POSTGRESQL:
                plain.sendall(POSTGRESQL_REQUEST)
                assert plain.recv(1) == b"S", f"PostgreSQL on {host} offers no TLS"
            with context.wrap_socket(plain, server_hostname=address) as secured:
                return fingerprint(secured.getpeercert(True) or b"")

    def ask_all() -> dict[str, str]:
        found = {}
        for group, ports in PORTS.items():
            for port in ports if host in members(group) else ():
                found[f"{host}:{port}"] = ask(lab.address(host), port)
        for group, ports in SLOTS.items():
            for port in ports if host in members(group) else ():
                try:
                    # Not by the port: an update takes another slot.
                    found[f"{host}:{group}"] = ask("127.0.0.1", port)
                except ConnectionRefusedError:
                    continue
        return found

    return netns.inside(host, ask_all)


def remember() -> None:
    """Note what is presented, and who is trusted, before an operation."""
    before.clear()
    for host in lab.HOSTS:
        before.update(presented(host))
    trusted_before[:] = authorities()


def renewed(*hosts: str) -> Check:
    """Check that every port of hosts presents another certificate than before, its host's, and no other port does."""

    def check(_seen: Seen) -> list[str]:
        wrong = []
        for host in lab.HOSTS:
            own = fingerprint(ssl.PEM_cert_to_DER_cert(lab.on(host, "cat", f"{PKI}/host.crt")))
            try:
                now = presented(host)
            except OSError as error:
                wrong.append(f"a port of {host} is not trusted or does not answer: {error}")
                continue
            wrong += [
                f"{port} does not answer any more" for port in before if port.startswith(f"{host}:") and port not in now
            ]
            for port, found in now.items():
                if found != own:
                    wrong.append(f"{port} does not present its host's certificate")
                if (found != before.get(port)) != (host in hosts):
                    wrong.append(f"{port} presents {'the same as before' if host in hosts else 'another certificate'}")
        return wrong

    return check


def replaces_only(pattern: str) -> Check:
    """Check that no other container than these is another one, or was restarted."""

    def check(seen: Seen) -> list[str]:
        names = sorted(seen.before.keys() | seen.after.keys())
        changed = [name for name in names if seen.before.get(name) != seen.after.get(name)]
        return [f"{name} was replaced or restarted" for name in changed if not re.search(pattern, name)]

    return check


def nothing_to_do() -> list[str]:
    """Check that site.yml would change nothing, whatever version of the application an earlier operation left."""
    image = f"neural_app_image={images.running('app1')}"
    return [f"site.yml would change: {change}" for change in lab.playbook("site", "--check", "-e", image).changed_tasks]


def trusts_both(_seen: Seen) -> list[str]:
    """Check that there is a second authority, that all hosts trust both, and that site.yml finds nothing to do."""
    wrong = []
    if len(authorities()) != 2 or trusted_before[0] not in authorities() or not NEXT_KEY.exists():
        wrong.append(f"{AUTHORITIES} has {len(authorities())} authorities, expected are the one before and another one")
    bundle = AUTHORITIES.read_text()
    wrong += [f"{host} trusts others" for host in lab.HOSTS if lab.on(host, "cat", f"{PKI}/ca.crt") != bundle]
    return wrong + nothing_to_do()


def trusts_the_new_one(seen: Seen) -> list[str]:
    """Check that the authority is another one, that nobody trusts the former, and that site.yml finds nothing to do."""
    wrong = []
    now = authorities()
    if len(now) != 1 or now[0] == trusted_before[0] or NEXT_KEY.exists():
        wrong.append(f"{AUTHORITIES} has {len(now)} authorities, expected is a new one alone")
    bundle = AUTHORITIES.read_text()
    wrong += [f"{host} trusts others" for host in lab.HOSTS if lab.on(host, "cat", f"{PKI}/ca.crt") != bundle]
    wrong += renewed(*lab.HOSTS)(seen)
    return wrong + nothing_to_do()


def trusts_as_before(_seen: Seen) -> list[str]:
    return [] if authorities() == trusted_before else [f"{AUTHORITIES} was changed"]
