# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the *_info modules share: asking a service over mutual TLS, and waiting, bounded, for a state."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Arguments of a module that shows the host's certificate; documented by the fragment service_tls.
TLS_ARGUMENTS: dict[str, dict[str, Any]] = {
    "ca_file": {"type": "path", "default": "/etc/neural/pki/ca.crt"},
    "cert_file": {"type": "path", "default": "/etc/neural/pki/host.crt"},
    "key_file": {"type": "path", "default": "/etc/neural/pki/host.key"},
    "request_timeout": {"type": "float", "default": 3},
}


@dataclass
class ClusterState:
    """What an info module found.

    problems holds sentences; the state is healthy when there are none.
    """

    members: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        return not self.problems

    def result(self) -> dict[str, Any]:
        """Return the keys that every info module returns, and the service's own."""
        return {"healthy": self.healthy, "problems": self.problems, "members": self.members, **self.details}


def client_tls(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """Return a TLS context that verifies the peer and shows the client's certificate.

    Raises OSError or ssl.SSLError when a file cannot be read.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file)
    return context


def http_request(
    url: str,
    tls: ssl.SSLContext | None = None,
    body: dict[str, Any] | None = None,
    user: str | None = None,
    password: str | None = None,
    timeout: float = 3.0,
    method: str | None = None,
) -> tuple[int, str]:
    """Send a GET, a POST where there is a body, or method, and return status and text; also for statuses from 400 on.

    timeout is in seconds. Raises OSError when there is no answer.
    """
    request = urllib.request.Request(url, data=None if body is None else json.dumps(body).encode(), method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    if user is not None:
        token = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


def wait_until(
    probe: Callable[[], ClusterState],
    wanted: Callable[[ClusterState], bool],
    timeout: float,
    interval: float = 0.5,
) -> tuple[ClusterState, bool, float]:
    """Ask until the wanted state is reached or timeout seconds have passed; a timeout of 0 asks once.

    Returns the last state, whether it is the wanted one, and the seconds spent.
    """
    start = time.monotonic()
    while True:
        state = probe()
        reached = wanted(state)
        spent = time.monotonic() - start
        if reached or spent + interval > timeout:
            return state, reached, round(spent, 2)
        time.sleep(interval)
