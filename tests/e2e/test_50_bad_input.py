"""Bad input is refused before any host is touched, by a sentence naming host, variable, found and expected.

The inventory's addresses lead nowhere: a playbook that touched a host would say so.
"""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labtools as lab
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Inventory = dict[str, Any]


def certificate(days: int, name: str = "neural.example.com") -> tuple[str, str]:
    """Return a self-signed certificate that ends in that many days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return pem, private


def group(inventory: Inventory, name: str) -> dict[str, Any]:
    found: dict[str, Any] = inventory["neural"]["children"][name]["hosts"]
    return found


def host(inventory: Inventory, name: str) -> dict[str, Any]:
    found: dict[str, Any] = inventory["neural"]["hosts"][name]
    return found


def setting(**values: Any) -> Callable[[Inventory, dict[str, Any]], None]:
    return lambda inventory, variables: variables.update(values)


def without(name: str) -> Callable[[Inventory, dict[str, Any]], None]:
    def change(inventory: Inventory, variables: dict[str, Any]) -> None:
        del variables[name]

    return change


EXPIRED, EXPIRED_KEY = certificate(-1)
VALID, VALID_KEY = certificate(100)
OTHER, OTHER_KEY = certificate(100)

# Name of the mistake: what makes it, and the words that the refusal must hold.
MISTAKES: dict[str, tuple[Callable[[Inventory, dict[str, Any]], Any], list[str]]] = {
    "two etcd members": (lambda i, v: group(i, "etcd").pop("app3"), ["etcd", "2"]),
    "two redis nodes": (lambda i, v: group(i, "redis").pop("app2"), ["redis", "2"]),
    "duplicate address": (lambda i, v: host(i, "app2").update(ansible_host="192.0.2.11"), ["app2", "192.0.2.11"]),
    "no address": (lambda i, v: host(i, "app3").pop("ansible_host"), ["app3", "neural_address"]),
    "virtual address of a host": (
        setting(neural_virtual_address="192.0.2.21"),
        ["neural_virtual_address", "192.0.2.21", "db1", "unused"],
    ),
    "address is a name": (lambda i, v: host(i, "db1").update(neural_address="database"), ["db1", "database"]),
    "missing secret": (without("neural_redis_password"), ["neural_redis_password"]),
    "short secret": (setting(neural_secret_key="short"), ["neural_secret_key", "5"]),
    "default secret": (setting(neural_db_password="changeme" * 5), ["neural_db_password"]),
    "no API key": (setting(neural_api_keys=[]), ["neural_api_keys"]),
    "unknown group member": (lambda i, v: group(i, "redis").update(appp1={}), ["appp1"]),
    "postgresql without etcd": (lambda i, v: i["neural"]["children"].pop("etcd"), ["patroni", "etcd"]),
    "two registries": (lambda i, v: group(i, "registry").update(app1={}), ["registry", "app1"]),
    "worker pool without queue": (
        setting(neural_worker_pools={"idle": {"queues": [], "concurrency": 1, "replicas": 1}}),
        ["neural_worker_pools", "idle", "queue"],
    ),
    "overlapping ports": (setting(neural_haproxy_stats_port=8000), ["8000", "neural_haproxy_stats_port"]),
    "slots beyond the range": (setting(neural_api_slot_port=65534), ["neural_api_slot"]),
    "more instances than slots": (setting(neural_api_instances=9), ["neural_api_instances", "9"]),
    "unknown method": (setting(nginx_method="fastest"), ["nginx_method", "fastest", "least_conn"]),
    "weights for a host that is not there": (setting(nginx_weights={"app9": 3}), ["nginx_weights", "app9"]),
    "expired certificate": (
        setting(nginx_tls_certificate=EXPIRED, nginx_tls_key=EXPIRED_KEY),
        ["nginx_tls_certificate", "expired"],
    ),
    "certificate and key of two pairs": (
        setting(nginx_tls_certificate=VALID, nginx_tls_key=OTHER_KEY),
        ["nginx_tls_key", "nginx_tls_certificate"],
    ),
    "image without tag": (setting(nginx_image="nginx"), ["nginx_image", "tag"]),
    "ttl too short": (
        setting(patroni_ttl=20, patroni_loop_wait=10, patroni_retry_timeout=10),
        ["patroni_ttl", "20", "30"],
    ),
    "string false": (setting(patroni_synchronous_mode="false"), ["patroni_synchronous_mode", "false", "bool"]),
    "word for a number": (setting(neural_api_slots="four"), ["neural_api_slots", "four"]),
    "bad memory": (setting(neural_api_memory="2 gigabytes"), ["neural_api_memory", "2 gigabytes"]),
    "misspelt variable": (setting(nginx_metod="ip_hash"), ["nginx_metod", "nginx_method"]),
    "bridge over the hosts' network": (
        setting(neural_bridge_subnet="192.0.2.0/24", neural_bridge_address="192.0.2.1"),
        ["neural_bridge_subnet", "192.0.2"],
    ),
}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Secrets made by the playbook that users run."""
    scratch = tmp_path_factory.mktemp("made")
    (scratch / "hosts.yml").write_text((lab.ROOT / "inventories/five_servers/hosts.yml").read_text())
    lab.playbook("secrets", "-e", "secrets_plaintext=true", inventory=scratch)
    made: dict[str, Any] = yaml.safe_load((scratch / "group_vars/all/secrets.yml").read_text())
    made["neural_ca_certificate"] = (scratch / "ca.crt").read_text()
    made["neural_public_name"] = "neural.example.com"
    return made


def write(where: Path, inventory: Inventory, variables: dict[str, Any]) -> Path:
    (where / "group_vars/all").mkdir(parents=True)
    (where / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (where / "group_vars/all/all.yml").write_text(yaml.safe_dump(variables))
    return where


def template() -> Inventory:
    found: Inventory = yaml.safe_load((lab.ROOT / "inventories/five_servers/hosts.yml").read_text())
    return found


def test_the_template_itself_passes(tmp_path: Path, variables: dict[str, Any]) -> None:
    """So that a refusal below is due to the mistake and to nothing else."""
    run = lab.playbook("preflight", "--tags", "inventory", inventory=write(tmp_path, template(), variables))
    assert all(count["failed"] == 0 for count in run.recap.values())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_refused(mistake: str, tmp_path: Path, variables: dict[str, Any]) -> None:
    change, words = MISTAKES[mistake]
    inventory, changed = template(), copy.deepcopy(variables)
    change(inventory, changed)
    run = lab.playbook("site", inventory=write(tmp_path, inventory, changed), check=False)
    assert run.returncode != 0
    assert "UNREACHABLE" not in run.output, "a host was touched"
    assert "Traceback" not in run.output
    sentence = re.sub(r"\s+", " ", run.output)
    missing = [word for word in words if word not in sentence]
    assert not missing, f"{missing} not in:\n{run.output[-3000:]}"
    for name in ("neural_redis_password", "neural_secret_key", "neural_db_password"):
        if len(str(changed.get(name, ""))) > 8:
            assert changed[name] not in run.output
