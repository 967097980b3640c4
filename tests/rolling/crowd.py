"""Ten thousand clients, each with an address of its own, and which of them meet the canary."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

import labtools as lab

from resilience import netns
from resilience.credentials import members
from resilience.health import virtual_address

CLIENTS = 10_000
# Addresses for measurements (RFC 2544). They all are on the host, and the load balancers' hosts are told so.
NETWORK = ipaddress.IPv4Network("198.18.0.0/16")
HOST = "db1"
THREADS = 16
SECONDS = 30


class Crowd:
    """The clients' addresses, as long as it is entered."""

    def __enter__(self) -> Crowd:
        lab.on(HOST, "ip", "route", "replace", "local", str(NETWORK), "dev", "lo")
        for host in members("nginx"):
            lab.on(host, "ip", "route", "replace", str(NETWORK), "via", lab.address(HOST))
        return self

    def __exit__(self, *_error: object) -> None:
        for host in members("nginx"):
            lab.on(host, "ip", "route", "del", str(NETWORK))
        lab.on(HOST, "ip", "route", "del", "local", str(NETWORK), "dev", "lo")

    def meets_canary(self) -> set[int]:
        """Have each client ask once over a new connection; return those that the canary answered. Raises OSError."""
        context = ssl.create_default_context(cafile=str(lab.INVENTORY / "ca.crt"))
        address = virtual_address()

        def ask(number: int) -> bool:
            netns.enter(HOST)
            connection = http.client.HTTPSConnection(address, timeout=SECONDS, context=context)
            plain = socket.create_connection((address, 443), SECONDS, (str(NETWORK[256 + number]), 0))
            connection.sock = context.wrap_socket(plain, server_hostname=address)
            try:
                connection.request("GET", "/health")
                answer = connection.getresponse()
                answer.read()
            finally:
                connection.close()
            if answer.status != 200:
                raise OSError(f"client {number} was answered {answer.status}")
            return answer.getheader("X-Neural-Canary") == "1"

        with ThreadPoolExecutor(THREADS) as pool:
            return {number for number, met in enumerate(pool.map(ask, range(CLIENTS))) if met}
