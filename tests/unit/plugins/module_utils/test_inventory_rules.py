"""Every mistake in an inventory is told, by a sentence that names where, which variable, found and expected."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.neural.platform.plugins.module_utils import inventory_rules
from ansible_collections.neural.platform.plugins.module_utils.inventory_rules import Inventory, as_bytes, check
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).parents[4]
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def certificate(begin: int, end: int, name: str = "neural.example.com", authority: bool = False) -> tuple[str, str]:
    """Return a self-signed certificate that is valid from begin to end, in days from now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begin * DAY)
        .not_valid_after(NOW + end * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


CA, CA_KEY = certificate(-1, 3650, "authority", authority=True)
OTHER_CA, OTHER_CA_KEY = certificate(-1, 3650, "authority", authority=True)
PUBLIC, PUBLIC_KEY = certificate(-1, 90)
_OTHER, OTHER_KEY = certificate(-1, 90)
EXPIRED, EXPIRED_KEY = certificate(-90, -1)
FUTURE, FUTURE_KEY = certificate(1, 90)
WILDCARD, WILDCARD_KEY = certificate(-1, 90, "*.example.com")
LONG = "Zb3kT9qLw7Rf2mXc8VyN4pHs6JdG1aQe"


def secret(number: int) -> str:
    return f"{LONG}{number}"


GROUPS = {
    "registry": ["cache1"],
    "etcd": ["app1", "app3", "cache1"],
    "patroni": ["db1", "app2", "app3"],
    "redis": ["cache1", "app1", "app2"],
    "haproxy": ["app1", "app2", "app3"],
    "nginx": ["app1", "app2"],
    "neural_api": ["app1", "app2", "app3"],
    "neural_dashboard": ["app1", "app2"],
    "neural_worker": ["app1", "app2", "app3"],
}
ADDRESSES = {
    "app1": "192.0.2.11",
    "app2": "192.0.2.12",
    "app3": "192.0.2.13",
    "db1": "192.0.2.21",
    "cache1": "192.0.2.31",
}
COMMON: dict[str, Any] = {
    "neural_public_name": "neural.example.com",
    "neural_virtual_address": "192.0.2.10",
    "neural_platform_name": "neural",
    "neural_registry": "192.0.2.31:5000",
    "neural_registry_port": 5000,
    "neural_ca_certificate": CA,
    "neural_ca_key": CA_KEY,
    "neural_api_keys": [secret(100)],
    **{name: secret(number) for number, name in enumerate(inventory_rules.PASSWORDS)},
    "neural_etcd_client_port": 2379,
    "neural_etcd_peer_port": 2380,
    "neural_postgresql_port": 5432,
    "neural_postgresql_replica_port": 5433,
    "neural_patroni_port": 8008,
    "neural_redis_port": 6379,
    "neural_redis_sentinel_port": 26379,
    "neural_api_port": 8000,
    "neural_api_slot_port": 8001,
    "neural_api_slots": 4,
    "neural_dashboard_port": 8050,
    "neural_dashboard_slot_port": 8051,
    "neural_dashboard_slots": 2,
    "neural_dashboard_path": "/dashboard/",
    "neural_haproxy_stats_port": 7000,
    "neural_bridge_subnet": "172.31.255.0/24",
    "neural_bridge_address": "172.31.255.1",
    "neural_domain": "neural.internal",
    "pki_validity": 397,
    "pki_renew_before": 30,
    "etcd_image": "192.0.2.31:5000/neural/etcd:1a2b",
    "etcd_heartbeat_interval": 100,
    "etcd_election_timeout": 1000,
    "patroni_ttl": 20,
    "patroni_loop_wait": 5,
    "patroni_retry_timeout": 5,
    "patroni_synchronous_mode": True,
    "patroni_synchronous_node_count": 1,
    "patroni_failover_priority": 1,
    "redis_maxmemory": "512mb",
    "redis_memory": "1G",
    "redis_cpus": 1,
    "redis_sentinel_quorum": 2,
    "redis_min_replicas_to_write": 1,
    "redis_replica_priority": 100,
    "redis_sentinel_ping_period": 400,
    "redis_sentinel_down_after_milliseconds": 5000,
    "redis_sentinel_stagger": 550,
    "keepalived_virtual_router_id": 51,
    "keepalived_priority": 100,
    "keepalived_prefix_length": 32,
    "keepalived_advert_interval": 0.5,
    "nginx_listen_addresses": ["0.0.0.0"],
    "nginx_http_port": 80,
    "nginx_https_port": 443,
    "nginx_method": "least_conn",
    "nginx_weights": {},
    "nginx_tls_certificate": "",
    "nginx_tls_key": "",
    "neural_api_instances": 1,
    "neural_api_memory": "2G",
    "neural_worker_overrides": {},
    "neural_worker_pools": {
        queue: {
            "queues": [queue],
            "concurrency": 2,
            "max_tasks_per_child": 10,
            "replicas": 1,
            "cpus": 1,
            "memory": "1G",
        }
        for queue in ("training", "compilation", "export", "general")
    },
}
SPECS: dict[str, dict[str, Any]] = {
    "patroni": {
        "patroni_ttl": {"type": "int", "default": 20},
        "patroni_synchronous_mode": {"type": "bool", "default": True},
        "patroni_failover_priority": {"type": "int", "default": 1},
    },
    "nginx": {
        "nginx_method": {"type": "str", "choices": ["round_robin", "least_conn", "ip_hash"], "default": "least_conn"},
        "nginx_weights": {"type": "dict", "default": {}},
        "nginx_tls_certificate": {"type": "str", "default": ""},
        "nginx_tls_key": {"type": "str", "default": ""},
    },
    "neural_api": {"neural_api_instances": {"type": "int", "default": 1}},
    "neural_worker": {"neural_worker_pools": {"type": "dict", "default": {}}},
    "common": {
        "neural_address": {"type": "str"},
        "neural_api_slots": {"type": "int", "default": 4},
        "neural_public_name": {"type": "str"},
    },
    "deploy": {"deploy_lock_force": {"type": "bool", "default": False}},
    "container": {"container_spec": {"type": "dict", "required": True}},
    "docker_host": {
        "docker_host_source": {"type": "str", "choices": ["distribution", "docker"], "default": "distribution"},
        "docker_host_options": {
            "type": "dict",
            "options": {"log": {"type": "str", "required": True}, "live": {"type": "bool"}},
        },
        "docker_host_packages": {"type": "list", "elements": "str", "default": []},
    },
}


@pytest.fixture
def inventory() -> Inventory:
    """An inventory without a mistake."""
    hosts = list(ADDRESSES)
    return Inventory(
        groups={"all": hosts, "neural": hosts, "ungrouped": [], "berlin": ["app1"], **copy.deepcopy(GROUPS)},
        values={host: {"neural_address": ADDRESSES[host], **copy.deepcopy(COMMON)} for host in hosts},
        given={host: [] for host in hosts},
        errors={host: {} for host in hosts},
        specs=SPECS,
        now=NOW,
    )


Change = Callable[[Inventory], Any]


def everywhere(**values: Any) -> Change:
    return lambda inventory: [known.update(copy.deepcopy(values)) for known in inventory.values.values()]


def on(host: str, **values: Any) -> Change:
    return lambda inventory: inventory.values[host].update(values)


def without(name: str) -> Change:
    return lambda inventory: [known.pop(name) for known in inventory.values.values()]


def members(group: str, *hosts: str) -> Change:
    return lambda inventory: inventory.groups.update({group: list(hosts)})


def given(host: str, name: str) -> Change:
    return lambda inventory: inventory.given[host].append(name)


def pool(name: str, **values: Any) -> Change:
    def change(inventory: Inventory) -> None:
        for known in inventory.values.values():
            known["neural_worker_pools"].setdefault(name, {"queues": ["general"]}).update(values)

    return change


def newcomer(group: str, host: str) -> Change:
    def change(inventory: Inventory) -> None:
        inventory.groups[group].append(host)
        inventory.groups["neural"] = [*inventory.groups["neural"], host]
        inventory.values[host] = {"neural_address": host, **copy.deepcopy(COMMON)}

    return change


# What is wrong: the change that makes it so, and what one sentence has to hold.
MISTAKES: dict[str, tuple[Change, list[str]]] = {
    "no platform group": (members("neural"), ["group neural", "missing or empty"]),
    "member outside the platform": (
        members("neural", "app1", "app2", "app3", "db1"),
        ["cache1", "group etcd", "neural"],
    ),
    "misspelt group": (
        lambda i: i.groups.update(neural_workers=i.groups.pop("neural_worker")),
        ["group neural_workers", "group neural_worker."],
    ),
    "unknown group member": (newcomer("redis", "appp1"), ["appp1", "neural_address", "redis", "did you mean app1"]),
    "no address": (on("db1", neural_address=""), ["db1", "neural_address is not set"]),
    "a name for an address": (
        on("db1", neural_address="database"),
        ["db1", "neural_address", '"database"', "IPv4 address"],
    ),
    "loopback": (on("db1", neural_address="127.0.0.1"), ["db1", "127.0.0.1", "cannot reach"]),
    "IPv6": (on("db1", neural_address="2001:db8::1"), ["db1", "2001:db8::1", "IPv4"]),
    "duplicate address": (on("db1", neural_address="192.0.2.11"), ["db1", "192.0.2.11", "app1", "of its own"]),
    "two etcd members": (members("etcd", "app1", "app3"), ["group etcd", "2 (app1, app3)", "odd number"]),
    "one etcd member": (members("etcd", "app1"), ["group etcd", "1 (app1)", "three or more"]),
    "four etcd members": (members("etcd", "app1", "app2", "app3", "db1"), ["group etcd", "4 ("]),
    "PostgreSQL without etcd": (members("etcd"), ["group etcd", "patroni"]),
    "no PostgreSQL": (members("patroni"), ["group patroni", "neural_api"]),
    "nobody can take over": (
        lambda i: [i.values[host].update(patroni_failover_priority=0) for host in ("app2", "app3")],
        ["patroni_failover_priority", "all hosts but db1"],
    ),
    "two redis": (members("redis", "app1", "app2"), ["group redis", "2 (app1, app2)", "three"]),
    "no redis": (members("redis"), ["group redis", "needs Redis"]),
    "minority quorum": (everywhere(redis_sentinel_quorum=1), ["redis_sentinel_quorum is 1", "2 to 3"]),
    "impossible quorum": (everywhere(redis_sentinel_quorum=4), ["redis_sentinel_quorum is 4", "2 to 3"]),
    "impossible replicas": (everywhere(redis_min_replicas_to_write=2), ["redis_min_replicas_to_write is 2", "0 to 1"]),
    "no stagger": (everywhere(redis_sentinel_stagger=0), ["redis_sentinel_stagger", "0", "above 400"]),
    "no master": (everywhere(redis_replica_priority=0), ["group redis", "redis_replica_priority"]),
    "two registries": (members("registry", "app1", "db1"), ["group registry", "2 (app1, db1)", "one host"]),
    "no registry": (members("registry"), ["group registry", "neural_registry"]),
    "API without HAProxy": (members("haproxy", "app1", "app2"), ["app3", "group haproxy", "neural_api"]),
    "load balancer without API": (members("neural_api"), ["group neural_api", "nginx"]),
    "virtual address is a name": (
        everywhere(neural_virtual_address="vip.example.com"),
        ["every host", 'neural_virtual_address is "vip.example.com"', "IPv4"],
    ),
    "virtual IPv6 address": (everywhere(neural_virtual_address="2001:db8::1"), ["neural_virtual_address", "IPv4"]),
    "virtual loopback address": (everywhere(neural_virtual_address="127.0.0.1"), ["127.0.0.1", "cannot reach"]),
    "virtual address of a host": (
        everywhere(neural_virtual_address="192.0.2.21"),
        ["every host", "neural_virtual_address is 192.0.2.21, the neural_address of db1", "unused"],
    ),
    "virtual address that Ansible reaches a host by": (
        on("app3", ansible_host="192.0.2.10"),
        ["neural_virtual_address is 192.0.2.10, the ansible_host of app3"],
    ),
    "virtual address for one host": (members("nginx", "app1"), ["group nginx", "1 (app1)", "two hosts or more"]),
    "virtual router 0": (everywhere(keepalived_virtual_router_id=0), ["keepalived_virtual_router_id is 0", "1 to 255"]),
    "virtual router 256": (on("app1", keepalived_virtual_router_id=256), ["app1: keepalived_virtual_router_id is 256"]),
    "two virtual routers": (
        on("app2", keepalived_virtual_router_id=52),
        ["app2: keepalived_virtual_router_id is 52, and 51 on app1", "same value"],
    ),
    "priority of the owner": (on("app1", keepalived_priority=255), ["app1: keepalived_priority is 255", "1 to 254"]),
    "no interval": (everywhere(keepalived_advert_interval=0), ["keepalived_advert_interval is 0", "0.01 to 40"]),
    "nginx on one address": (
        on("app1", nginx_listen_addresses=["192.0.2.11"]),
        ["app1: nginx_listen_addresses", "192.0.2.11", "0.0.0.0"],
    ),
    "missing secret": (without("neural_db_password"), ["every host", "neural_db_password is not set", "secrets.yml"]),
    "empty secret": (everywhere(neural_db_password=""), ["neural_db_password is not set"]),
    "short secret": (everywhere(neural_db_password="x7Kq2Lm9"), ["neural_db_password is 8 characters long", "32"]),
    "default secret": (everywhere(neural_db_password="changeme"), ["neural_db_password is a well-known default"]),
    "repeated default": (
        everywhere(neural_db_password="password1!" * 4),
        ["neural_db_password is a well-known default"],
    ),
    "placeholder": (everywhere(neural_secret_key="your-secret-key-here-please-change-it"), ["is a placeholder"]),
    "monotonous secret": (everywhere(neural_secret_key="ab" * 20), ["neural_secret_key is only 2 different"]),
    "unusual characters": (
        everywhere(neural_secret_key=LONG + " '\""),
        ["neural_secret_key is with characters other"],
    ),
    "secret of a wrong type": (everywhere(neural_secret_key=12345678), ["neural_secret_key is of type int"]),
    "secret used twice": (
        everywhere(neural_redis_password=secret(1)),
        ["neural_redis_password is the same as neural_db_password"],
    ),
    "new value of a secret too short": (
        everywhere(neural_redis_password_next="short"),
        ["neural_redis_password_next is 5 characters long"],
    ),
    "new value that is the present one": (
        everywhere(neural_redis_password_next=secret(1)),
        ["neural_redis_password_next is the same as neural_db_password"],
    ),
    "no API key": (everywhere(neural_api_keys=[]), ["neural_api_keys is not set", "a list"]),
    "API keys not a list": (everywhere(neural_api_keys=LONG), ["neural_api_keys is of type str", "a list"]),
    "short API key": (everywhere(neural_api_keys=["ci:abc"]), ["neural_api_keys[0] is 3 characters long", "16"]),
    "API key twice": (
        everywhere(neural_api_keys=[LONG, LONG]),
        ["neural_api_keys[1] is the same as neural_api_keys[0]"],
    ),
    "secret differs": (
        on("db1", neural_secret_key=secret(77)),
        ["db1", "neural_secret_key", "not the same as on app1"],
    ),
    "no authority": (without("neural_ca_key"), ["neural_ca_key is not set"]),
    "authority's key of another": (everywhere(neural_ca_key=OTHER_KEY), ["neural_ca_certificate", "neural_ca_key"]),
    "authorities, none of them the key's": (
        everywhere(neural_ca_certificate=CA + OTHER_CA, neural_ca_key=OTHER_KEY),
        ["neural_ca_certificate is not the certificate of neural_ca_key"],
    ),
    "one of two authorities is none": (
        everywhere(neural_ca_certificate=CA + PUBLIC),
        ["neural_ca_certificate", "CA:TRUE"],
    ),
    "authority is none": (
        everywhere(neural_ca_certificate=PUBLIC, neural_ca_key=PUBLIC_KEY),
        ["neural_ca_certificate", "CA:TRUE"],
    ),
    "authority expired": (
        everywhere(neural_ca_certificate=EXPIRED, neural_ca_key=EXPIRED_KEY),
        ["neural_ca_certificate is expired on 2026-05-31"],
    ),
    "authority unreadable": (
        lambda i: [
            (i.errors[host].update(neural_ca_certificate="no file"), i.values[host].pop("neural_ca_certificate"))
            for host in i.hosts
        ],
        ["neural_ca_certificate_file", "cannot be read"],
    ),
    "expired certificate": (
        everywhere(nginx_tls_certificate=EXPIRED, nginx_tls_key=EXPIRED_KEY),
        ["app1, app2: nginx_tls_certificate is expired on 2026-05-31", "valid now"],
    ),
    "early certificate": (
        everywhere(nginx_tls_certificate=FUTURE, nginx_tls_key=FUTURE_KEY),
        ["nginx_tls_certificate is not valid before 2026-06-02"],
    ),
    "certificate of another key": (
        everywhere(nginx_tls_certificate=PUBLIC, nginx_tls_key=OTHER_KEY),
        ["nginx_tls_certificate is not the certificate of nginx_tls_key"],
    ),
    "certificate of another name": (
        everywhere(nginx_tls_certificate=PUBLIC, nginx_tls_key=PUBLIC_KEY, neural_public_name="other.example.com"),
        ["nginx_tls_certificate is for neural.example.com", "other.example.com"],
    ),
    "certificate without key": (everywhere(nginx_tls_certificate=PUBLIC), ["nginx_tls_key is not set", "both"]),
    "no certificate at all": (
        everywhere(nginx_tls_certificate="/etc/ssl/x.pem", nginx_tls_key=PUBLIC_KEY),
        ["nginx_tls_certificate is no certificate", "PEM"],
    ),
    "key with passphrase or none": (
        everywhere(nginx_tls_certificate=PUBLIC, nginx_tls_key="secret"),
        ["nginx_tls_key is no private key that can be read"],
    ),
    "no time for the lock": (everywhere(deploy_lock_timeout=0), ["deploy_lock_timeout is 0", "1 or more seconds"]),
    "no history": (everywhere(deploy_history_lines=-1), ["deploy_history_lines is -1", "1 or more lines"]),
    "no switch": (everywhere(deploy_lock_force="perhaps"), ['deploy_lock_force is "perhaps"', "a boolean"]),
    "renewed all the time": (everywhere(pki_renew_before=400), ["pki_renew_before is 400", "pki_validity"]),
    "the string false": (
        everywhere(patroni_synchronous_mode="false"),
        ["patroni_synchronous_mode", '"false"', "a boolean"],
    ),
    "a number in quotes": (everywhere(patroni_ttl="20"), ["patroni_ttl", '"20"', "whole number"]),
    "true for a number": (everywhere(patroni_ttl=True), ["patroni_ttl", "true", "whole number"]),
    "nothing for a number": (everywhere(patroni_ttl=None), ["patroni_ttl", "null", "whole number"]),
    "text for a list": (everywhere(docker_host_packages="curl"), ["docker_host_packages", '"curl"', "a list"]),
    "number in a list": (everywhere(docker_host_packages=[True]), ["docker_host_packages[0] is true", "text"]),
    "unknown setting in a dictionary": (
        everywhere(docker_host_options={"log": "x", "liv": True}),
        ["docker_host_options.liv", "does not exist", "did you mean live"],
    ),
    "missing setting in a dictionary": (everywhere(docker_host_options={}), ["docker_host_options.log is not set"]),
    "unknown method": (
        everywhere(nginx_method="fastest"),
        ["nginx_method", '"fastest"', "round_robin, least_conn, ip_hash"],
    ),
    "unsupported source": (everywhere(docker_host_source="snap"), ["docker_host_source", '"snap"', "distribution"]),
    "a template that fails": (
        lambda i: i.errors["db1"].update(patroni_ttl="'x' is undefined"),
        ["db1", "patroni_ttl", "'x' is undefined"],
    ),
    "misspelt variable": (given("app1", "nginx_metod"), ["app1", "nginx_metod", "did you mean nginx_method"]),
    "variable that nobody knows": (given("app1", "redis_flavour"), ["app1", "redis_flavour", "no role knows"]),
    "derived variable": (given("app1", "neural_addresses"), ["app1", "neural_addresses is set", "nothing"]),
    "internal variable": (given("app1", "container_spec"), ["app1", "container_spec is set", "nothing"]),
    "setting that differs": (
        on("db1", neural_api_slots=3),
        ["db1", "neural_api_slots", "3, and 4 on app1", "group_vars"],
    ),
    "image without tag": (everywhere(etcd_image="registry:5000/etcd"), ["etcd_image", "without a tag"]),
    "moving tag": (everywhere(etcd_image="etcd:latest"), ["etcd_image", "etcd:latest", "does not move"]),
    "impossible image": (everywhere(etcd_image="https://etcd:1"), ["etcd_image", "https://etcd:1"]),
    "bad memory": (everywhere(neural_api_memory="2 gigabytes"), ["neural_api_memory", "2 gigabytes", "512M"]),
    "too little memory": (everywhere(neural_api_memory="512k"), ["neural_api_memory", "6M or more"]),
    "no CPU": (everywhere(redis_cpus=0), ["redis_cpus is 0", "0.01"]),
    "Redis larger than its container": (everywhere(redis_maxmemory="2gb"), ["redis_maxmemory is 2gb", "less than 1G"]),
    "PostgreSQL larger than its container": (
        everywhere(patroni_shared_buffers="8GB", patroni_memory="8G"),
        ["patroni_shared_buffers is 8GB", "less than 8G"],
    ),
    "HAProxy where PostgreSQL listens": (
        on("app2", haproxy_database_bind=["127.0.0.1", "192.0.2.12"]),
        ["app2", "neural_postgresql_port is 5432", "own"],
    ),
    "Redis where HAProxy listens": (
        everywhere(redis_bind=["127.0.0.1"]),
        ["app1, app2", "neural_redis_port is 6379"],
    ),
    "short lease": (
        everywhere(patroni_ttl=20, patroni_loop_wait=10, patroni_retry_timeout=10),
        ["patroni_ttl is 20", "30 or more", "patroni_loop_wait 10"],
    ),
    "lease that Patroni refuses": (
        everywhere(patroni_ttl=10, patroni_loop_wait=1, patroni_retry_timeout=3),
        ["patroni_ttl is 10", "20 or more"],
    ),
    "too many synchronous standbys": (
        everywhere(patroni_synchronous_node_count=3),
        ["synchronous_node_count is 3", "1 to 2"],
    ),
    "hasty elections": (everywhere(etcd_election_timeout=200), ["etcd_election_timeout is 200", "500 to 50000"]),
    "weight for nobody": (everywhere(nginx_weights={"app9": 2}), ["nginx_weights", "app9", "app1, app2, app3"]),
    "weight of nothing": (everywhere(nginx_weights={"app1": 0}), ["nginx_weights.app1 is 0", "1 to 65535"]),
    "pool without queue": (
        pool("idle", queues=[]),
        ["neural_worker_pools.idle.queues", "without a queue", "compilation"],
    ),
    "pool without queues": (pool("idle", queues=None), ["neural_worker_pools.idle.queues", "without a queue"]),
    "impossible queue": (pool("idle", queues=["a b"]), ["neural_worker_pools.idle.queues", "a b"]),
    "impossible pool name": (pool("Big One", queues=["general"]), ["neural_worker_pools.Big One", "a-z"]),
    "pool without workers": (
        pool("general", concurrency=0),
        ["neural_worker_pools.general.concurrency is 0", "1 or more"],
    ),
    "pool with bad memory": (pool("general", memory="lots"), ["neural_worker_pools.general.memory", "lots"]),
    "queue without pool": (pool("export", queues=["exports"]), ["queue export", "did you mean exports"]),
    "queue switched off": (pool("export", replicas=0), ["group neural_worker", "queue export"]),
    "pool of no group": (pool("export", group="gpus"), ["neural_worker_pools.export.group", "gpus"]),
    "override for no pool": (everywhere(neural_worker_overrides={"trainin": {}}), ["trainin", "did you mean training"]),
    "overriding with nonsense": (
        everywhere(neural_worker_overrides={"training": {"replicas": -1}}),
        ["neural_worker_pools.training.replicas is -1"],
    ),
    "overlapping ports": (everywhere(neural_haproxy_stats_port=8000), ["8000", "neural_haproxy_stats_port", "own"]),
    "slots over a port": (
        everywhere(neural_dashboard_slot_port=8002),
        ["neural_dashboard_slot_port (slot 1) is 8002", "slot 2"],
    ),
    "SSH's port": (everywhere(nginx_https_port=22), ["app1, app2", "nginx_https_port is 22", "SSH"]),
    "no port": (everywhere(neural_api_port=70000), ["neural_api_port is 70000", "1 to 65535"]),
    "slots beyond the ports": (everywhere(neural_api_slot_port=65534), ["neural_api_slot_port is 65534", "65537"]),
    "more instances than slots": (everywhere(neural_api_instances=4), ["neural_api_instances is 4", "1 to 3", "slot"]),
    "no queue": (everywhere(haproxy_breaker_queue=0), ["haproxy_breaker_queue is 0", "1 or more requests"]),
    "more than all": (everywhere(haproxy_breaker_percent=101), ["haproxy_breaker_percent is 101", "0 to 100 per cent"]),
    "one slot": (everywhere(neural_api_slots=1), ["neural_api_slots is 1", "2 or more"]),
    "bridge over the hosts": (
        everywhere(neural_bridge_subnet="192.0.2.0/27", neural_bridge_address="192.0.2.1"),
        ["neural_bridge_subnet", "192.0.2.11", "app1"],
    ),
    "bridge that is none": (
        everywhere(neural_bridge_subnet="172.31.255.1/24"),
        ["neural_bridge_subnet", "172.31.255.1/24"],
    ),
    "address outside the bridge": (
        everywhere(neural_bridge_address="172.31.0.1"),
        ["neural_bridge_address", "172.31.255.0/24"],
    ),
    "URL for a name": (
        everywhere(neural_public_name="https://x.example.com/"),
        ["neural_public_name", "without https://"],
    ),
    "path without slash": (everywhere(neural_dashboard_path="/dashboard"), ["neural_dashboard_path", "both ends"]),
    "bad domain": (everywhere(neural_domain="neural_internal"), ["neural_domain", "neural.internal"]),
    "bad platform name": (everywhere(neural_platform_name="My Platform"), ["neural_platform_name", "My Platform"]),
}


def test_a_good_inventory_has_no_problem(inventory: Inventory) -> None:
    assert check(inventory) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str, inventory: Inventory) -> None:
    change, words = MISTAKES[mistake]
    change(inventory)
    sentences = check(inventory)
    assert any(all(word in sentence for word in words) for sentence in sentences), "\n".join(sentences)
    assert all("; expected " in sentence for sentence in sentences)
    everything = "\n".join(sentences)
    assert LONG not in everything
    assert "PRIVATE KEY" not in everything


@pytest.mark.parametrize(
    "change",
    [
        everywhere(nginx_tls_certificate=PUBLIC, nginx_tls_key=PUBLIC_KEY),
        everywhere(nginx_tls_certificate=WILDCARD, nginx_tls_key=WILDCARD_KEY),
        everywhere(etcd_image="etcd@sha256:" + "0" * 64),
        everywhere(etcd_image="[2001:db8::1]:5000/neural/etcd:1.0"),
        everywhere(etcd_image="registry.example.com/neural/etcd_x:1.0@sha256:" + "0" * 64),
        everywhere(neural_api_keys=[f"ci:{secret(1)}x", f"alice:{secret(2)}x"]),
        everywhere(nginx_weights={"app1": 3}, docker_host_options={"log": "x"}),
        # The authority is being changed: two are trusted, either may sign.
        everywhere(neural_ca_certificate=OTHER_CA + CA),
        everywhere(neural_ca_certificate=CA + OTHER_CA, neural_ca_key=OTHER_CA_KEY),
        given("app1", "ansible_user"),
        everywhere(neural_virtual_address="", nginx_listen_addresses=["192.0.2.11"]),
        lambda inventory: (members("nginx", "app1")(inventory), everywhere(neural_virtual_address="")(inventory)),
        pool("big", queues=["training"], group="berlin"),
        lambda inventory: (inventory.foreign.append("redis_ex*"), inventory.given["app1"].append("redis_exporter")),
        lambda inventory: (members("registry")(inventory), given("app1", "neural_registry")(inventory)),
    ],
)
def test_what_is_allowed(change: Change, inventory: Inventory) -> None:
    change(inventory)
    allowed = {"neural_registry"}
    assert [
        sentence for sentence in check(inventory) if not any(f": {name} is a var" in sentence for name in allowed)
    ] == []


def test_all_mistakes_are_told_at_once_and_once(inventory: Inventory) -> None:
    everywhere(neural_db_password="changeme", nginx_method="fastest")(inventory)
    sentences = check(inventory)
    assert len(sentences) == 2
    assert sum("every host: neural_db_password" in sentence for sentence in sentences) == 1


def test_a_secret_inside_another_value_is_hidden(inventory: Inventory) -> None:
    everywhere(nginx_method=f"x{secret(0)}")(inventory)
    assert not any(LONG in sentence for sentence in check(inventory))


def test_what_listens_where(inventory: Inventory) -> None:
    ports = inventory_rules.host_ports(inventory, "app2")
    assert {"variable": "neural_postgresql_port", "port": 5432, "addresses": ["192.0.2.12"]} in ports
    assert {"variable": "neural_postgresql_port", "port": 5432, "addresses": ["127.0.0.1", "172.31.255.1"]} in ports
    assert {"variable": "nginx_https_port", "port": 443, "addresses": []} in ports
    assert inventory_rules.peer(inventory, "db1") == {
        "name": "db1",
        "address": "192.0.2.21",
        "ports": [22, 5432, 8008],
    }


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("512M", 512 * 2**20),
        ("512mb", 512 * 2**20),
        ("1.5g", 3 * 2**29),
        (1024, 1024),
        ("1", 1),
        ("G", None),
        (True, None),
    ],
)
def test_sizes(size: Any, expected: int | None) -> None:
    assert as_bytes(size) == expected


def test_the_rules_know_the_groups_of_the_template() -> None:
    template = yaml.safe_load((ROOT / "inventories/five_servers/hosts.yml").read_text())
    assert set(template["neural"]["children"]) == set(inventory_rules.SERVICES)


def test_what_is_documented_for_the_command_line_is_a_switch() -> None:
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "playbooks").rglob("*.yml")]
    named = {name for text in texts for name in re.findall(r"-e (\w+)=(?:true|false)", text.read_text())}
    options: dict[str, Any] = {}
    for specs in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(specs.read_text())["argument_specs"].values():
            options |= entry.get("options", {})
    assert named & options.keys() == set(inventory_rules.SWITCHES)
