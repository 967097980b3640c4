"""Which certificate a port presents, asked of real TLS servers on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.neural.platform.plugins.module_utils import redis_sentinel, tls_info
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import client_tls
from ansible_collections.neural.platform.plugins.module_utils.tls_info import Endpoint, Presented, judge, read_state
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAYS = 90


class Files(NamedTuple):
    ca: str
    certificate: str
    key: str


def make(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS, hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer[1] if issuer else key).public_key()),
            critical=False,
        )
    )
    if issuer is None:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def host(tmp_path: Path) -> Callable[[str], Files]:
    """Makes a host's files, of the authority of its name's first letter; one ca.crt has all of them."""
    authorities: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}

    def files(name: str) -> Files:
        authority = authorities.setdefault(name[0], make(f"authority {name[0]}", None))
        certificate, key = make(name, authority)
        found = Files(*(str(tmp_path / f"{name}.{kind}") for kind in ("ca", "crt", "key")))
        Path(found.ca).write_text(pem(authority[0]))
        Path(found.certificate).write_text(pem(certificate))
        Path(found.key).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return found

    return files


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serves TLS on loopback to those who show a certificate; before it what PostgreSQL answers, if that is given."""
    listeners: list[socket.socket] = []

    def one(connection: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
        with connection:
            if answer and (connection.recv(8) != tls_info.POSTGRESQL_REQUEST or connection.sendall(answer)):
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                return

    def loop(listener: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            one(connection, context, answer)

    def start(files: Files, answer: bytes = b"") -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(files.certificate, files.key)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=loop, args=(listener, context, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def state(files: Files, endpoint: Endpoint, min_days: float = 0) -> tuple[list[str], dict[str, object]]:
    tls = client_tls(files.ca, files.certificate, files.key)
    tls.check_hostname = False
    found = read_state([endpoint], tls, files.certificate, 3, min_days)
    return found.problems, found.members[0]


def test_the_hosts_certificate(host: Callable[[str], Files], serve: Callable[..., int]) -> None:
    files = host("a1")
    problems, member = state(files, Endpoint("127.0.0.1", serve(files)), min_days=30)
    assert problems == []
    assert member["fingerprint"] and member["serial"] and not member["error"]


def test_postgresql_is_asked_for_tls(host: Callable[[str], Files], serve: Callable[..., int]) -> None:
    files = host("a1")
    endpoint = Endpoint("127.0.0.1", serve(files, b"S"), "postgresql")
    assert state(files, endpoint)[0] == []
    endpoint = Endpoint("127.0.0.1", serve(files, b"N"), "postgresql")
    assert "PostgreSQL offers no TLS (it answers b'N')" in state(files, endpoint)[0][0]


def test_a_service_that_goes_on_with_the_certificate_before(
    host: Callable[[str], Files], serve: Callable[..., int]
) -> None:
    port = serve(host("a1"))
    problems, _member = state(host("a2"), Endpoint("127.0.0.1", port))
    assert len(problems) == 1
    assert problems[0].startswith(f"127.0.0.1:{port} presents a certificate (serial ")
    assert "that is not the one in" in problems[0]


def test_a_certificate_of_another_authority(host: Callable[[str], Files], serve: Callable[..., int]) -> None:
    problems, member = state(host("b1"), Endpoint("127.0.0.1", serve(host("a1"))))
    assert "presents no certificate that is trusted" in problems[0]
    assert member["fingerprint"] == ""


def test_where_nothing_listens(host: Callable[[str], Files]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    files = host("a1")
    assert "refused" in state(files, Endpoint("127.0.0.1", port))[0][0]
    assert state(files, Endpoint("127.0.0.1", port, optional=True))[0] == []


def test_a_certificate_that_ends_soon() -> None:
    presented = Presented(b"der", "0A", 1_800_000_000.0)
    endpoint = Endpoint("2001:db8::1", 443)
    now = presented.not_after - 10.5 * tls_info.DAY
    assert judge(endpoint, presented, b"der", "host.crt", 10, now) == []
    assert judge(endpoint, presented, b"der", "host.crt", 30, now) == [
        "[2001:db8::1]:443 presents a certificate that ends in 10 days, on 2027-01-15 (expected are 30 days or more)."
    ]


def test_a_file_without_a_certificate(host: Callable[[str], Files]) -> None:
    with pytest.raises(ValueError, match="holds no certificate"):
        tls_info.read_der(host("a1").key)


def test_redis_tells_a_certificate_as_the_checksum_of_its_file(host: Callable[[str], Files]) -> None:
    """So that it can be compared with what sha256sum says of the file."""
    path = Path(host("a1").certificate)
    assert (
        redis_sentinel.fingerprint(tls_info.read_der(str(path)))
        == redis_sentinel.hashlib.sha256(path.read_bytes()).hexdigest()
    )
