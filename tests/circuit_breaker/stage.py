"""Three hosts on loopback: a real HAProxy each with the role's own configuration, and Python servers as instances."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils import haproxy
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"app1": "127.0.0.11", "app2": "127.0.0.12", "app3": "127.0.0.13"}
DOMAIN = "neural.internal"
API_PORT, FIRST_PORT, SLOTS = 18000, 18100, 4


def place(name: str) -> tuple[str, str, str, int]:
    """Return host, backend, server and port of an instance: it is called `host/slot1`, or a canary `host/canary1`."""
    host, slot = name.split("/")
    canary, number = slot.startswith("canary"), int(slot[-1])
    first = FIRST_PORT + 10 * list(HOSTS).index(host) + (SLOTS if canary else 0)
    return host, "canary" if canary else "api", f"slot{number}", first + number - 1


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until the condition holds; return how long that took (seconds)."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


# --- certificates, configuration ------------------------------------------------------------------------------


def make_certificates(directory: Path) -> None:
    """Make an authority, and one certificate with the names that the hosts' have."""
    directory.mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: Any, issuer: str, issuer_key: Any, extensions: Sequence[Any]) -> x509.Certificate:
        def naming(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = (
            x509.CertificateBuilder()
            .subject_name(naming(name))
            .issuer_name(naming(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(f"api.{DOMAIN}")]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in HOSTS.values()]
    ca = certificate("test", ca_key, "test", ca_key, [(x509.BasicConstraints(True, 0), True)])
    host = certificate("host", key, "test", ca_key, [(x509.SubjectAlternativeName(names), False)])
    pem = serialization.Encoding.PEM
    key_text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "ca.crt").write_bytes(ca.public_bytes(pem))
    (directory / "host.pem").write_bytes(host.public_bytes(pem) + key_text)


def render(directory: Path, settings: dict[str, Any]) -> None:
    """Write each host's configuration and the circuit breaker into directory, with the role's settings given."""
    index = "groups['neural_api'].index(inventory_hostname)"
    variables = {
        "neural_config_dir": f"{directory}/{{{{ inventory_hostname }}}}",
        "neural_data_dir": f"{directory}/{{{{ inventory_hostname }}}}",
        "_haproxy_config_dir": f"{directory}/{{{{ inventory_hostname }}}}",
        "_haproxy_data_dir": f"{directory}/{{{{ inventory_hostname }}}}",
        "_haproxy_hash": "test",
        "neural_pki_dir": f"{directory}/pki",
        "neural_api_port": API_PORT,
        "neural_api_slots": SLOTS,
        "neural_api_slot_port": f"{{{{ {FIRST_PORT} + 10 * {index} }}}}",
        "neural_canary_slot_port": f"{{{{ {FIRST_PORT} + 10 * {index} + {SLOTS} }}}}",
        "haproxy_health_port": f"{{{{ {FIRST_PORT} + 10 * {index} + 9 }}}}",
        "neural_haproxy_stats_port": API_PORT + 1,
        "neural_haproxy_stats_password": "test",
        "haproxy_check_interval": "300ms",
        "haproxy_check_down_interval": "200ms",
        **settings,
    }
    hosts = {name: {"ansible_host": address} for name, address in HOSTS.items()}
    inventory = {"all": {"children": {"neural_api": {"hosts": hosts}}}}
    for name in HOSTS:
        (directory / name).mkdir(parents=True)
        (directory / name / "server-state").write_text("1\n")
        shutil.copy(ROOT / "roles/haproxy/files/circuit_breaker.lua", directory / name)
    (directory / "hosts.json").write_text(json.dumps(inventory))
    (directory / "variables.json").write_text(json.dumps(variables))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", str(directory / "hosts.json"), "-e", f"@{directory}/variables.json"]
    done = subprocess.run(
        [*command, "-e", f"ansible_python_interpreter={sys.executable}", str(Path(__file__).with_name("render.yml"))],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


# --- instances ------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """A server that many may ask at once."""

    request_queue_size = 128
    daemon_threads = True


@dataclass
class Instance:
    """An instance of the API: it answers its health check well, all else with `status` after `delay` seconds."""

    name: str
    port: int
    pki: Path
    status: int = 200
    delay: float = 0
    served: int = 0
    most: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: Server | None = None

    def start(self) -> None:
        instance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = 200 if self.path == "/health" else instance.serve()
                body = instance.name.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                # No connection is kept: once it is stopped nothing of it answers.
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *_arguments: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pki / "host.pem")
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self) -> int:
        """Take part in what is counted, and return the status of the answer."""
        with self._lock:
            self.served += 1
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.delay)
        with self._lock:
            self._now -= 1
        return self.status

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


# --- HAProxy --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a client got: the status, and which instance answered; nobody if HAProxy did itself."""

    status: int
    instance: str
    headers: dict[str, str]


@dataclass
class Host:
    """A host: its HAProxy."""

    name: str
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def container(self) -> str:
        return f"circuit-breaker-{self.name}"

    @property
    def admin(self) -> str:
        return str(self.directory / self.name / "admin.sock")

    @property
    def state_file(self) -> str:
        return str(self.directory / self.name / "server-state")

    def start(self) -> None:
        directory = self.directory / self.name
        command = ["haproxy", "-W", "-db", "-S", f"{directory}/master.sock,mode,600", "-f", f"{directory}/haproxy.cfg"]
        if image := os.environ.get("HAPROXY_IMAGE"):
            docker = f"docker run --rm --name {self.container} --network host --user {os.getuid()}:{os.getgid()}"
            command = [*shlex.split(docker), "--volume", f"{self.directory}:{self.directory}", image, *command]
        elif not shutil.which("haproxy"):
            raise AssertionError("no HAProxy: set HAPROXY_IMAGE to an image, or install the distribution's package")
        with (directory / "haproxy.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(self.answers, 20, f"the HAProxy of {self.name} runs")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said: {self.log[-3000:]}") from None

    def stop(self) -> None:
        if self.process:
            if os.environ.get("HAPROXY_IMAGE"):
                # Not by a signal to its client, which ends and leaves it: the next one would share its ports.
                subprocess.run(["docker", "stop", "--time", "5", self.container], check=True, stdout=subprocess.DEVNULL)
            else:
                self.process.terminate()
            self.process.wait(20)
            self.process = None

    def reload(self) -> None:
        haproxy.reload(self.admin, str(self.directory / self.name / "master.sock"), self.state_file, 10)
        wait_for(self.answers, 10, f"{self.name} answers after the reload")

    def tell(self, command: str) -> str:
        return haproxy.ask(self.admin, command, 3)

    def answers(self) -> bool:
        try:
            return bool(self.tell("show info"))
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self.directory / self.name / "haproxy.log").read_text(errors="replace")

    @property
    def configuration(self) -> str:
        return (self.directory / self.name / "haproxy.cfg").read_text()

    def row(self, server: str = "slot1", backend: str = "api") -> dict[str, str]:
        rows = haproxy.parse_stat(self.tell("show stat"))
        return next(row for row in rows if (row["pxname"], row["svname"]) == (backend, server))

    def server(self, name: str = "slot1") -> dict[str, Any]:
        """Return one of the host's servers as haproxy_info tells it."""
        return haproxy.server(self.row(name), haproxy.parse_ejections(self.tell("show circuit-breaker")).get(name))

    def ejected(self) -> set[str]:
        """Return the ejected servers, as `host/slot`."""
        return {f"{self.name}/{slot}" for slot in haproxy.parse_ejections(self.tell("show circuit-breaker"))}

    def request(self, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask the host's HAProxy as nginx does: a new connection, this platform's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.directory / "pki/ca.crt")
        context.load_cert_chain(self.directory / "pki/host.pem")
        connection = http.client.HTTPSConnection(HOSTS[self.name], API_PORT, context=context, timeout=30)
        try:
            connection.request(method, "/jobs", headers=headers or {})
            answer = connection.getresponse()
            body = answer.read().decode()
            instance = body if body.startswith("app") else ""
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, instance, found)
        finally:
            connection.close()

    def requests(self, count: int) -> list[Answer]:
        """Send requests one after the other."""
        return [self.request() for _number in range(count)]

    def requests_at_once(self, count: int) -> list[Answer]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _number: self.request("POST"), range(count)))


@dataclass
class Stage:
    """All hosts and instances."""

    hosts: dict[str, Host]
    instances: dict[str, Instance]

    def ejected(self) -> set[str]:
        """Return what is ejected at one moment: what two looks, one after the other, both see."""
        looks = [{slot for host in self.running() for slot in host.ejected()} for _look in range(2)]
        return looks[0] & looks[1]

    def running(self) -> Iterable[Host]:
        return [host for host in self.hosts.values() if host.process]

    def wait_until_well(self) -> None:
        """Wait until every instance is up for its host, and every host for the others."""
        wanted = [place(name)[:3] for name in self.instances]
        owners = {host for host, backend, _slot in wanted if backend == "api"}
        wanted += [(host.name, "api_peers", owner) for host in self.running() for owner in owners if owner != host.name]
        for host, backend, server in wanted:
            up = partial(self._well, self.hosts[host], server, backend)
            wait_for(up, 20, f"{host} sees {backend}/{server}")

    @staticmethod
    def _well(host: Host, server: str, backend: str) -> bool:
        row = host.row(server, backend)
        return row["status"] == "UP" and row["check_status"].lstrip("* ") == "L7OK"

    def gone(self, name: str) -> None:
        """Stop a host's HAProxy, and wait until the others do not hand it requests."""
        self.hosts[name].stop()
        for host in self.running():
            wait_for(partial(self._gone, host, name), 20, f"{name} is down for {host.name}")

    @staticmethod
    def _gone(host: Host, name: str) -> bool:
        return host.row(name, "api_peers")["status"] == "DOWN"


@contextmanager
def staged(directory: Path, instances: Iterable[str], settings: dict[str, Any]) -> Iterator[Stage]:
    """Run three hosts with the instances, until all are well."""
    make_certificates(directory / "pki")
    render(directory, settings)
    made = {name: Instance(name, place(name)[3], directory / "pki") for name in instances}
    stage = Stage({name: Host(name, directory) for name in HOSTS}, made)
    try:
        for instance in made.values():
            instance.start()
        for host in stage.hosts.values():
            host.start()
        stage.wait_until_well()
        yield stage
    finally:
        for host in stage.hosts.values():
            host.stop()
        for instance in made.values():
            instance.stop()
