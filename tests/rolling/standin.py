"""A stand-in for an instance of the API, in a free slot of a lab server: healthy, and otherwise as bad as it is told.

A real instance can't be made to answer 500 without building one; this one stands behind the real HAProxy at the real
port, with the server's own certificate. `python3 -c` runs the program below on the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import labtools as lab

from resilience import faults
from resilience.drills import wait_for

FIRST_PORT, SLOTS = 8001, 4
STATE, PID = "/run/neural-stand-in.json", "/run/neural-stand-in.pid"
SOCKET = "/var/lib/neural/haproxy/admin.sock"

PROGRAM = f"""
import http.server, json, os, pathlib, ssl, sys, time
state = pathlib.Path({STATE!r})
pathlib.Path({PID!r}).write_text(str(os.getpid()))

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wanted = dict(status=200, delay=0) if self.path == "/health" else json.loads(state.read_text())
        time.sleep(wanted["delay"])
        self.send_response(wanted["status"])
        self.send_header("Content-Length", "9")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"stand-in\\n")
    do_GET = do_POST = answer
    def log_message(self, *arguments):
        pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/etc/neural/pki/host.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.daemon_threads = True
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
ASK = f"""
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(5)
connection.connect({SOCKET!r})
connection.sendall((sys.argv[1] + "\\n").encode())
print(b"".join(iter(lambda: connection.recv(65536), b"")).decode(), end="")
"""


def ask(host: str, command: str) -> str:
    """Send a command to the runtime socket of a server's HAProxy."""
    return lab.on(host, "python3", "-c", ASK, command)


def slots(host: str) -> list[int]:
    """Return the slots of a server in which an instance runs."""
    return [int(name.rpartition("-")[2]) for name in faults.names_on(host, "neural-api-")]


class StandIn:
    """One in the highest free slot of a server."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.slot = max(set(range(1, SLOTS + 1)) - set(slots(host)))

    def be(self, status: int, delay: float = 0) -> None:
        """Answer so from now on."""
        state = json.dumps({"status": status, "delay": delay})
        lab.on(self.host, "sh", "-c", f"echo '{state}' > {STATE}.new && mv {STATE}.new {STATE}")

    def start(self) -> None:
        self.be(200)
        port = str(FIRST_PORT + self.slot - 1)
        lab.run("docker", "exec", "--detach", f"{lab.PREFIX}-{self.host}", "python3", "-c", PROGRAM, port)

    def stop(self) -> None:
        lab.on(self.host, "sh", "-c", f"test ! -e {PID} || kill $(cat {PID}); rm -f {PID} {STATE}", check=False)

    @property
    def up(self) -> bool:
        return self.row().get("status") == "UP"

    def row(self) -> dict[str, Any]:
        """Return what HAProxy's statistics say of it."""
        header, *lines = ask(self.host, "show stat").splitlines()
        names = header.removeprefix("# ").split(",")
        rows = (dict(zip(names, line.split(","), strict=False)) for line in lines)
        return next(row for row in rows if (row.get("pxname"), row.get("svname")) == ("api", f"slot{self.slot}"))


@contextmanager
def stand_ins(hosts: Sequence[str], alone: bool) -> Iterator[list[StandIn]]:
    """Run one on each server. With `alone` the real instances get no requests meanwhile: drained as by an operator."""
    made = [StandIn(host) for host in hosts]
    with ExitStack() as restore:
        for one in made:
            restore.callback(one.stop)
            one.start()
            wait_for(lambda one=one: one.up, 30, f"the stand-in on {one.host} is up")
            for slot in slots(one.host) if alone else []:
                restore.callback(ask, one.host, f"set server api/slot{slot} state ready")
                ask(one.host, f"set server api/slot{slot} state drain")
        yield made
