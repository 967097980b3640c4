# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which certificate a port presents: that of a file, verified, and not at its end."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState

# PostgreSQL's request for TLS: its length and its code.
POSTGRESQL_REQUEST = struct.pack("!ii", 8, 80877103)
DAY = 86400.0


class RefusedError(OSError):
    """The server speaks, but not TLS."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask; at an optional one nothing has to listen."""

    address: str
    port: int
    protocol: str = "tls"
    optional: bool = False

    @classmethod
    def from_params(cls, params: Iterable[Mapping[str, Any]]) -> list[Endpoint]:
        return [
            cls(item["address"], port, item["protocol"], item["optional"]) for item in params for port in item["ports"]
        ]

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Presented:
    """A certificate that was presented, and verified."""

    der: bytes
    serial: str
    not_after: float

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @property
    def until(self) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(self.not_after))


def read_der(path: str) -> bytes:
    """Return the first certificate of a PEM file. Raises OSError; ValueError where there is none."""
    pem = re.search(
        r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", Path(path).read_text(encoding="utf-8"), re.DOTALL
    )
    if pem is None:
        raise ValueError(f"{path} holds no certificate")
    return ssl.PEM_cert_to_DER_cert(pem[0])


def ask(endpoint: Endpoint, tls: ssl.SSLContext, timeout: float) -> Presented:
    """Return the certificate that a port presents. Raises OSError, also for one that is not trusted."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((endpoint.address, endpoint.port), timeout))
        if endpoint.protocol == "postgresql":
            connection.sendall(POSTGRESQL_REQUEST)
            answer = connection.recv(1)
            if answer != b"S":
                raise RefusedError(f"PostgreSQL offers no TLS (it answers {answer!r})")
        secured = stack.enter_context(tls.wrap_socket(connection, server_hostname=endpoint.address))
        found = secured.getpeercert() or {}
        return Presented(
            secured.getpeercert(True) or b"",
            str(found.get("serialNumber", "")),
            ssl.cert_time_to_seconds(str(found["notAfter"])),
        )


def judge(
    endpoint: Endpoint, presented: Presented, expected: bytes, cert_file: str, min_days: float, now: float
) -> list[str]:
    """Return what is wrong with a presented certificate."""
    problems = []
    if presented.der != expected:
        problems.append(
            f"{endpoint} presents a certificate (serial {presented.serial}, valid until {presented.until}) that is not "
            f"the one in {cert_file}."
        )
    days = (presented.not_after - now) / DAY
    if days < min_days:
        problems.append(
            f"{endpoint} presents a certificate that ends in {int(days)} days, on {presented.until} "
            f"(expected are {min_days:g} days or more)."
        )
    return problems


def read_state(
    endpoints: Iterable[Endpoint],
    tls: ssl.SSLContext,
    cert_file: str,
    timeout: float,
    min_days: float = 0,
) -> ClusterState:
    """Ask every port and judge. Raises OSError or ValueError when the certificate to compare with cannot be read."""
    expected = read_der(cert_file)
    members: list[dict[str, Any]] = []
    problems: list[str] = []
    for endpoint in endpoints:
        member: dict[str, Any] = {"address": endpoint.address, "port": endpoint.port, "fingerprint": "", "error": ""}
        members.append(member)
        try:
            presented = ask(endpoint, tls, timeout)
        except OSError as error:
            member["error"] = " ".join(str(error).split())[:200] or type(error).__name__
            if not (endpoint.optional and isinstance(error, ConnectionRefusedError)):
                problems.append(f"{endpoint} presents no certificate that is trusted: {member['error']}.")
            continue
        member.update(fingerprint=presented.fingerprint, serial=presented.serial, not_after=presented.until)
        problems += judge(endpoint, presented, expected, cert_file, min_days, time.time())
    return ClusterState(members=members, problems=problems)
