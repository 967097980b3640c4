# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an inventory has to satisfy before any host is touched: pure functions over plain data.

Every rule yields problems; a problem says where, which variable, what was found and what is expected, and never holds
the value of a secret.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# A group's name is its role's name. All other roles concern every host.
SERVICES = (
    "registry",
    "etcd",
    "patroni",
    "redis",
    "haproxy",
    "nginx",
    "neural_api",
    "neural_dashboard",
    "neural_worker",
)

# Those whose instances take slots, and the group of hosts that run them.
SLOTTED = {"neural_api": "neural_api", "neural_canary": "neural_api", "neural_dashboard": "neural_dashboard"}

PASSWORDS = (
    "neural_secret_key",
    "neural_db_password",
    "neural_db_superuser_password",
    "neural_db_replication_password",
    "neural_redis_password",
    "neural_haproxy_stats_password",
    "neural_registry_password",
)
SECRETS = (*PASSWORDS, "neural_api_keys", "neural_ca_key")
# While playbooks/rotate_secrets.yml rotates one of these, another value stands beside it: to come, or the one before.
ROTATED = (
    "neural_db_password",
    "neural_db_superuser_password",
    "neural_db_replication_password",
    "neural_redis_password",
    "neural_haproxy_stats_password",
)
OTHER_VALUES = tuple(f"{name}_{which}" for name in ROTATED for which in ("next", "previous"))
SECRET_LENGTH = 32
API_KEY_LENGTH = 16
DEFAULT_SECRETS = (
    "changeme",
    "change_me",
    "change-me",
    "password",
    "passw0rd",
    "secret",
    "admin",
    "example",
    "default",
)
MADE_BY = "made by playbooks/secrets.yml"

# Tasks are sent to these; one pool has to take each.
QUEUES = ("compilation", "export", "training", "general")

# Variables that a person does not set, as they follow from others.
DERIVED = ("neural_addresses",)
# What roles hand to the role container.
INTERNAL = ("container_spec", "container_hold")
# Switches for the command line, where -e name=value makes a text of the value.
SWITCHES = ("deploy_lock_force", "neural_force", "neural_require_healthy")
# Common variables that may differ from host to host.
OF_A_HOST = ("neural_address",)


class Missing:
    """What a variable is that nobody defined."""

    def __bool__(self) -> bool:
        return False


MISSING = Missing()


@dataclass(frozen=True)
class Problem:
    """One mistake; the same mistake on several hosts becomes one sentence."""

    where: str
    variable: str
    found: str
    expected: str


@dataclass
class Inventory:
    """An inventory as plain data: values are templated, defaults of the roles included."""

    groups: dict[str, list[str]]
    values: dict[str, dict[str, Any]]
    # by host: the names that the inventory (or the command line) sets; and why a value could not be worked out
    given: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    # by role: its variables' specifications, as in argument_specs.yml
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    # names that look like ours and are not; a * may end them
    foreign: list[str] = field(default_factory=list)
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    @property
    def hosts(self) -> list[str]:
        return list(self.values)

    def members(self, group: str) -> list[str]:
        return self.groups.get(group, [])

    def value(self, host: str, name: str) -> Any:
        return self.values[host].get(name, MISSING)

    def integer(self, host: str, name: str) -> int | None:
        """Return a whole number, None where it is anything else: the rule about types reports that."""
        value = self.value(host, name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def roles(self, host: str) -> list[str]:
        return [role for role in self.specs if role not in SERVICES or host in self.members(role)]


Rule = Callable[[Inventory], Iterator[Problem]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES.append(function)
    return function


def is_secret(name: str) -> bool:
    """Tell whether a variable's value must never be shown."""
    return name.split(".")[0].split("[")[0] in SECRETS or bool(
        re.search(r"password|passwd|secret|token|(_|^)keys?$", name)
    )


def show(name: str, value: Any) -> str:
    """Return a value as a sentence may hold it."""
    if isinstance(value, Missing):
        return "not set"
    if is_secret(name):
        return "a value of the wrong kind (not shown)"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' where one of the known words is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def as_address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address; None where the value is none."""
    try:
        return ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None


def as_network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return a network; None where the value is none."""
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def as_bytes(value: Any) -> int | None:
    """Return a size such as 512M or 512mb in bytes; None where the value is no size."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", str(value).strip().lower())
    if not match:
        return None
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] if match[2] not in ("", "b") else " "))


# --- hosts and groups --------------------------------------------------------------------------------------------


@rule
def platform_group(inventory: Inventory) -> Iterator[Problem]:
    """There are hosts, and all of ours are in the group neural."""
    if not inventory.members("neural"):
        yield Problem("the inventory", "group neural", "missing or empty", "a group of all hosts of the platform")
        return
    for group in SERVICES:
        for host in inventory.members(group):
            if host not in inventory.members("neural"):
                yield Problem(host, f"group {group}", "joined by a host outside the group neural", "a member of neural")


@rule
def group_names(inventory: Inventory) -> Iterator[Problem]:
    """A group that is nearly named like one of ours is a slip."""
    ours = set(inventory.members("neural"))
    for group, members in inventory.groups.items():
        if group in SERVICES or group in ("all", "ungrouped", "neural") or not ours.issuperset(members):
            continue
        close = difflib.get_close_matches(group, SERVICES, n=1, cutoff=0.8)
        if close and close[0] not in inventory.groups:
            yield Problem("the inventory", f"group {group}", "a group that no role knows", f"group {close[0]}")


@rule
def addresses(inventory: Inventory) -> Iterator[Problem]:
    """Every host has an IP address of its own."""
    seen: dict[str, str] = {}
    addressed = [host for host in inventory.hosts if as_address(inventory.value(host, "neural_address"))]
    for host in inventory.hosts:
        value = inventory.value(host, "neural_address")
        expected = "an IPv4 address of the private network (set neural_address or ansible_host)"
        if isinstance(value, Missing) or value in ("", None):
            yield Problem(host, "neural_address", "not set", expected)
            continue
        address = as_address(value)
        if address is None and value == host:
            groups = [group for group in SERVICES if host in inventory.members(group)]
            hint = suggestion(host, addressed)
            yield Problem(
                host, "neural_address", f"not set for this member of {', '.join(groups) or 'neural'}{hint}", expected
            )
        elif address is None or address.version != 4:
            yield Problem(host, "neural_address", show("neural_address", value), expected)
        elif address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
            yield Problem(host, "neural_address", f"{value}, which other hosts cannot reach", expected)
        elif value in seen:
            yield Problem(host, "neural_address", f"{value}, the address of {seen[value]}", "an address of its own")
        else:
            seen[value] = host


@rule
def etcd_members(inventory: Inventory) -> Iterator[Problem]:
    """An odd number of etcd members, three or more; PostgreSQL needs them."""
    count = len(inventory.members("etcd"))
    if count == 0:
        for group in ("patroni", "neural_api"):
            if inventory.members(group):
                yield Problem(
                    "group etcd", "number of hosts", "0, although " + group + " has some", "three or five hosts"
                )
                return
    elif count < 3 or count % 2 == 0:
        found = f"{count} ({', '.join(inventory.members('etcd'))})"
        yield Problem(
            "group etcd", "number of hosts", found, "an odd number of hosts, three or more, so that one may fail"
        )


@rule
def redis_members(inventory: Inventory) -> Iterator[Problem]:
    """Three Sentinels or more, a quorum that exists, replicas that exist."""
    members = inventory.members("redis")
    if not members:
        if inventory.members("neural_api") or inventory.members("neural_worker"):
            yield Problem(
                "group redis", "number of hosts", "0, although the application needs Redis", "three hosts or more"
            )
        return
    if len(members) < 3:
        yield Problem("group redis", "number of hosts", f"{len(members)} ({', '.join(members)})", "three hosts or more")
    for host in members:
        quorum = inventory.integer(host, "redis_sentinel_quorum")
        if quorum is not None and not len(members) // 2 < quorum <= len(members):
            expected = f"{len(members) // 2 + 1} to {len(members)}, a majority of the Sentinels"
            yield Problem(host, "redis_sentinel_quorum", str(quorum), expected)
        replicas = inventory.integer(host, "redis_min_replicas_to_write")
        if replicas is not None and not 0 <= replicas <= max(len(members) - 2, 0):
            expected = f"0 to {max(len(members) - 2, 0)}: of {len(members)} hosts one is the master and one may fail"
            yield Problem(host, "redis_min_replicas_to_write", str(replicas), expected)
        ping = inventory.integer(host, "redis_sentinel_ping_period") or 0
        down = inventory.integer(host, "redis_sentinel_down_after_milliseconds") or 0
        stagger = inventory.integer(host, "redis_sentinel_stagger")
        if stagger is not None and not ping < stagger <= down // 4:
            expected = f"above {ping} (redis_sentinel_ping_period), to {down // 4} (a quarter of how long it waits)"
            yield Problem(host, "redis_sentinel_stagger", str(stagger), expected)
    priorities = [inventory.integer(host, "redis_replica_priority") for host in members]
    if all(priority == 0 for priority in priorities):
        yield Problem("group redis", "redis_replica_priority", "0 on every host", "above 0 on two hosts or more")


@rule
def postgresql_members(inventory: Inventory) -> Iterator[Problem]:
    """PostgreSQL exists where it is needed, and can fail over."""
    members = inventory.members("patroni")
    if not members:
        for group in ("neural_api", "neural_worker"):
            if inventory.members(group):
                yield Problem(
                    "group patroni", "number of hosts", f"0, although {group} needs PostgreSQL", "two hosts or more"
                )
                return
        return
    if len(members) > 1:
        eligible = [host for host in members if inventory.integer(host, "patroni_failover_priority") != 0]
        if len(eligible) < 2:
            found = f"0 on all hosts but {', '.join(eligible) or 'none'}"
            yield Problem("group patroni", "patroni_failover_priority", found, "above 0 on two hosts or more")


@rule
def one_registry(inventory: Inventory) -> Iterator[Problem]:
    """Exactly one host serves the images, unless another registry is named."""
    members = inventory.members("registry")
    if len(members) > 1:
        yield Problem("group registry", "number of hosts", f"{len(members)} ({', '.join(members)})", "one host")
    elif not members and not any("neural_registry" in names for names in inventory.given.values()):
        yield Problem(
            "group registry", "number of hosts", "0", "one host, or neural_registry naming a registry that exists"
        )


@rule
def way_to_databases(inventory: Inventory) -> Iterator[Problem]:
    """What talks to a database has HAProxy on its own host; nginx has somewhere to send requests to."""
    for group in ("neural_api", "neural_worker", "neural_dashboard"):
        for host in inventory.members(group):
            if host not in inventory.members("haproxy"):
                found = f"not joined by this host of {group}"
                yield Problem(host, "group haproxy", found, "HAProxy on every host of the application")
    if inventory.members("nginx") and not inventory.members("neural_api"):
        yield Problem(
            "group neural_api", "number of hosts", "0, although nginx sends requests there", "one host or more"
        )


# --- secrets -----------------------------------------------------------------------------------------------------


def weakness(secret: str, length: int) -> str | None:
    """Say what is wrong with a secret, without showing it."""
    plain = secret.strip().lower()
    if any(plain == word or re.fullmatch(rf"({re.escape(word)}[\W\d_]*)+", plain) for word in DEFAULT_SECRETS):
        return "a well-known default"
    if plain.startswith(("your-", "your_", "<", "xxx")):
        return "a placeholder"
    if len(secret) < length:
        return f"{len(secret)} characters long"
    if len(set(secret)) < 8:
        return f"only {len(set(secret))} different characters"
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", secret):
        return "with characters other than A-Z a-z 0-9 . _ ~ -"
    return None


@rule
def passwords(inventory: Inventory) -> Iterator[Problem]:
    """Every secret is there, long, of its own, and the same for all hosts."""
    expected = f"{SECRET_LENGTH} characters or more of its own, {MADE_BY}"
    for host in inventory.hosts:
        seen: dict[str, str] = {}
        for name in (*PASSWORDS, *OTHER_VALUES):
            value = inventory.value(host, name)
            absent = isinstance(value, Missing) or value in ("", None)
            if name in inventory.errors.get(host, {}) or (name in OTHER_VALUES and absent):
                continue
            if absent:
                yield Problem(host, name, "not set", expected)
            elif not isinstance(value, str):
                yield Problem(host, name, f"of type {type(value).__name__}", "text: " + expected)
            elif found := weakness(value, SECRET_LENGTH):
                yield Problem(host, name, found, expected)
            elif value in seen:
                yield Problem(host, name, f"the same as {seen[value]}", expected)
            else:
                seen[value] = name


@rule
def api_keys(inventory: Inventory) -> Iterator[Problem]:
    """A list of keys; each may carry its owner's name."""
    expected = f"a list of one key or more, each of {API_KEY_LENGTH} characters or more, {MADE_BY}"
    for host in inventory.hosts:
        keys = inventory.value(host, "neural_api_keys")
        if "neural_api_keys" in inventory.errors.get(host, {}):
            continue
        if isinstance(keys, Missing) or not keys:
            yield Problem(host, "neural_api_keys", "not set", expected)
        elif not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            yield Problem(host, "neural_api_keys", f"of type {type(keys).__name__}, or not of texts", expected)
        else:
            bare = [key.rpartition(":")[2] for key in keys]
            for number, key in enumerate(bare):
                if found := weakness(key, API_KEY_LENGTH):
                    yield Problem(host, f"neural_api_keys[{number}]", found, expected)
                elif key in bare[:number]:
                    yield Problem(
                        host, f"neural_api_keys[{number}]", f"the same as neural_api_keys[{bare.index(key)}]", expected
                    )


# --- certificates ------------------------------------------------------------------------------------------------


@dataclass
class Certificate:
    """What the rules ask of a certificate."""

    not_before: datetime.datetime
    not_after: datetime.datetime
    public_key: bytes
    is_authority: bool
    names: list[str]


def read_certificate(pem: str) -> Certificate | None:
    """Read the first certificate of a PEM text; None where there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value).lower() for name in extension]
    except x509.ExtensionNotFound:
        names = []
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(certificate.not_valid_before_utc, certificate.not_valid_after_utc, public, authority, names)


def read_public_key(pem: str) -> bytes | None:
    """Return the public half of a private key's PEM text; None where it is no (unencrypted) key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        return None
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def covers(names: Iterable[str], name: str) -> bool:
    """Tell whether a certificate's names include a name, wildcards considered."""
    name = name.lower()
    return any(name == known or (known.startswith("*.") and name.partition(".")[2] == known[2:]) for known in names)


def split_certificates(pem: str) -> list[str]:
    """Return the certificates of a PEM text, one by one."""
    return re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", pem, re.DOTALL)


def certificate_of_key(pem: str, key: str) -> str:
    """Return the certificate of a PEM text that belongs to a key; all of the text where none does."""
    public = read_public_key(key)
    for single in split_certificates(pem):
        certificate = read_certificate(single)
        if certificate is not None and certificate.public_key == public:
            return single
    return pem


def pair_problems(
    inventory: Inventory, host: str, certificate_name: str, key_name: str, pem: Any = None
) -> Iterator[Problem]:
    """What is wrong with a certificate, that of the variable unless it is given, and the key that belongs to it."""
    pem = inventory.value(host, certificate_name) if pem is None else pem
    key = inventory.value(host, key_name)
    if not isinstance(pem, str) or not isinstance(key, str):
        return
    certificate = read_certificate(pem)
    if certificate is None:
        yield Problem(host, certificate_name, "no certificate", "a certificate in PEM form")
    else:
        day = "%Y-%m-%d"
        if certificate.not_after <= inventory.now:
            found = f"expired on {certificate.not_after.strftime(day)}"
            yield Problem(host, certificate_name, found, "a certificate that is valid now")
        elif certificate.not_before > inventory.now:
            found = f"not valid before {certificate.not_before.strftime(day)}"
            yield Problem(host, certificate_name, found, "a certificate that is valid now")
    public = read_public_key(key)
    if public is None:
        yield Problem(
            host, key_name, "no private key that can be read", "a private key in PEM form without a passphrase"
        )
    elif certificate is not None and certificate.public_key != public:
        yield Problem(
            host, certificate_name, f"not the certificate of {key_name}", "a certificate and the key that belongs to it"
        )


@rule
def certificate_authority(inventory: Inventory) -> Iterator[Problem]:
    """The internal authority's certificate and key are there, belong together and are valid."""
    for host in inventory.hosts:
        if "neural_ca_certificate" in inventory.errors.get(host, {}):
            path = inventory.value(host, "neural_ca_certificate_file")
            yield Problem(
                host, "neural_ca_certificate_file", f"{path}, which cannot be read", f"a certificate, {MADE_BY}"
            )
        if "neural_ca_key" in inventory.errors.get(host, {}):
            continue
        key = inventory.value(host, "neural_ca_key")
        if isinstance(key, Missing) or not key or not isinstance(key, str):
            yield Problem(host, "neural_ca_key", "not set", f"a private key, {MADE_BY}")
            continue
        pem = inventory.value(host, "neural_ca_certificate")
        # While the authority is changed there are two, of which one signs.
        signing = certificate_of_key(pem, key) if isinstance(pem, str) else pem
        yield from pair_problems(inventory, host, "neural_ca_certificate", "neural_ca_key", signing)
        certificates = [read_certificate(single) for single in split_certificates(pem)] if isinstance(pem, str) else []
        if any(certificate is not None and not certificate.is_authority for certificate in certificates):
            yield Problem(
                host, "neural_ca_certificate", "the certificate of no authority", "one with basicConstraints CA:TRUE"
            )


@rule
def public_certificate(inventory: Inventory) -> Iterator[Problem]:
    """The certificate that users see belongs to its key, is valid, and is for the public name."""
    for host in inventory.members("nginx"):
        certificate, key = inventory.value(host, "nginx_tls_certificate"), inventory.value(host, "nginx_tls_key")
        if bool(certificate) != bool(key):
            missing = "nginx_tls_key" if certificate else "nginx_tls_certificate"
            yield Problem(host, missing, "not set", "both nginx_tls_certificate and nginx_tls_key, or neither")
        elif certificate:
            yield from pair_problems(inventory, host, "nginx_tls_certificate", "nginx_tls_key")
            public_name = inventory.value(host, "neural_public_name")
            read = read_certificate(certificate) if isinstance(certificate, str) else None
            if read and isinstance(public_name, str) and not covers(read.names, public_name):
                found = f"for {', '.join(read.names) or 'no name'}"
                yield Problem(
                    host, "nginx_tls_certificate", found, f"a certificate for neural_public_name, {public_name}"
                )


@rule
def certificate_days(inventory: Inventory) -> Iterator[Problem]:
    """Certificates live longer than the time before their end at which they are renewed."""
    for host in inventory.hosts:
        validity, renewal = inventory.integer(host, "pki_validity"), inventory.integer(host, "pki_renew_before")
        if validity is not None and renewal is not None and not 0 < renewal < validity:
            yield Problem(host, "pki_renew_before", str(renewal), f"1 to {validity - 1}, less than pki_validity")


@rule
def deploy_numbers(inventory: Inventory) -> Iterator[Problem]:
    """A lock is held for some time before it is stale, and the history has room for an event."""
    for host in inventory.hosts:
        for name, what in (("deploy_lock_timeout", "seconds"), ("deploy_history_lines", "lines")):
            number = inventory.integer(host, name)
            if number is not None and number < 1:
                yield Problem(host, name, str(number), f"1 or more {what}")


# --- every variable ----------------------------------------------------------------------------------------------

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}
TYPE_NAMES = {
    "str": "text",
    "path": "a path",
    "int": "a whole number (without quotes)",
    "float": "a number (without quotes)",
    "bool": "a boolean, true or false (without quotes; on the command line -e '{...}')",
    "list": "a list",
    "dict": "a dictionary",
}


def type_problems(name: str, value: Any, spec: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield variable, found and expected for everything in a value that its specification does not allow."""
    kind = spec.get("type", "str")
    if value is None and not spec.get("required") and spec.get("default") is None:
        return
    if kind in TYPES and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool")):
        yield name, show(name, value), TYPE_NAMES[kind]
        return
    choices = spec.get("choices")
    if choices:
        wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in choices]
        for item in wrong:
            yield name, show(name, item), "one of " + ", ".join(str(choice) for choice in choices)
        if wrong:
            return
    if isinstance(value, list):
        element = {"type": spec.get("elements", "raw"), "options": spec.get("options"), "required": True}
        for number, item in enumerate(value):
            yield from type_problems(f"{name}[{number}]", item, element)
    elif isinstance(value, dict) and spec.get("options"):
        options = spec["options"]
        for key in value:
            if key not in options:
                yield (
                    f"{name}.{key}",
                    "a setting that does not exist" + suggestion(str(key), options),
                    "one of " + ", ".join(options),
                )
        for key, option in options.items():
            if key in value:
                yield from type_problems(f"{name}.{key}", value[key], option)
            elif option.get("required"):
                yield f"{name}.{key}", "not set", TYPE_NAMES.get(option.get("type", "str"), "a value")


@rule
def types(inventory: Inventory) -> Iterator[Problem]:
    """Every variable has the type, and one of the values, that its role's argument_specs say."""
    for host in inventory.hosts:
        for role in inventory.roles(host):
            for name, spec in inventory.specs[role].items():
                value = inventory.value(host, name)
                if name in INTERNAL:
                    continue
                if name in SWITCHES and str(value).lower() in ("true", "false", "yes", "no"):
                    continue
                if isinstance(value, Missing):
                    if spec.get("required") and name not in inventory.errors.get(host, {}):
                        yield Problem(host, name, "not set", TYPE_NAMES.get(spec.get("type", "str"), "a value"))
                    continue
                for variable, found, expected in type_problems(name, value, spec):
                    yield Problem(host, variable, found, expected)


@rule
def templates(inventory: Inventory) -> Iterator[Problem]:
    """Every value can be worked out."""
    for host in inventory.hosts:
        for name, message in inventory.errors.get(host, {}).items():
            if name == "neural_ca_certificate":
                continue  # certificate_authority says so
            yield Problem(
                host, name, f"a template that fails: {message}", "a value that can be worked out without a connection"
            )


@rule
def spelling(inventory: Inventory) -> Iterator[Problem]:
    """A variable that looks like a role's is one that a role knows."""
    known = {name for options in inventory.specs.values() for name in options} | {*SECRETS, *OTHER_VALUES}
    prefixes = tuple(f"{role}_" for role in (*inventory.specs, *SERVICES, "neural"))
    foreign = tuple(name[:-1] for name in inventory.foreign if name.endswith("*"))
    for host in inventory.hosts:
        for name in inventory.given.get(host, []):
            if name in (*DERIVED, *INTERNAL):
                yield Problem(host, name, "set", "nothing, as it follows from other variables")
            elif (
                name.startswith(prefixes)
                and name not in known
                and name not in inventory.foreign
                and not (foreign and name.startswith(foreign))
            ):
                expected = "a variable that a role knows (or its name in preflight_foreign_variables)"
                yield Problem(host, name, "a variable that no role knows" + suggestion(name, known), expected)


@rule
def same_everywhere(inventory: Inventory) -> Iterator[Problem]:
    """What all hosts share is the same on all of them."""
    if not inventory.hosts:
        return
    names = [*inventory.specs.get("common", {}), *SECRETS, *OTHER_VALUES]
    for name in names:
        if name in OF_A_HOST:
            continue
        first = inventory.hosts[0]
        for host in inventory.hosts[1:]:
            mine, others = inventory.value(host, name), inventory.value(first, name)
            if not isinstance(mine, Missing) and not isinstance(others, Missing) and mine != others:
                found = (
                    f"not the same as on {first}"
                    if is_secret(name)
                    else f"{show(name, mine)}, and {show(name, others)} on {first}"
                )
                yield Problem(host, name, found, "the same value on every host (set it in group_vars/all)")


@rule
def images(inventory: Inventory) -> Iterator[Problem]:
    """An image has a tag or a digest, and is named as Docker can."""
    part = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
    registry = r"(?:[A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::\d+)?"
    reference = re.compile(
        rf"(?:{registry}/)?{part}(?:/{part})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"
    )
    for host in inventory.hosts:
        for name, value in inventory.values[host].items():
            if not name.endswith("_image") or not isinstance(value, str):
                continue
            match = reference.fullmatch(value)
            if not match:
                yield Problem(
                    host, name, show(name, value), "an image such as registry.example.com:5000/neural/etcd:1.0"
                )
            elif not match[1] and not match[2]:
                yield Problem(host, name, f"{show(name, value)}, without a tag", "an image with a tag or a digest")
            elif match[1] == ":latest" and not match[2]:
                yield Problem(host, name, show(name, value), "an image with a tag that does not move")


@rule
def limits(inventory: Inventory) -> Iterator[Problem]:
    """Memory and CPU limits are such that Docker takes them."""

    def check(host: str, name: str, key: str, value: Any) -> Iterator[Problem]:
        if key == "memory" or key.endswith("_memory"):
            size = as_bytes(value)
            if size is None or size < 6 * 1024**2:
                yield Problem(host, name, show(name, value), "a size of 6M or more, such as 512M or 2G")
        elif key == "cpus" or key.endswith("_cpus"):
            try:
                enough = not isinstance(value, bool) and float(value) >= 0.01
            except (TypeError, ValueError):
                enough = False
            if not enough:
                yield Problem(host, name, show(name, value), "a number of CPUs of 0.01 or more, such as 0.5 or 2")

    for host in inventory.hosts:
        for name, value in inventory.values[host].items():
            yield from check(host, name, name, value)
        for where, pool in pools(inventory, host):
            for key, value in pool.items():
                yield from check(host, f"{where}.{key}", key, value)
        for group, part, whole in (
            ("redis", "redis_maxmemory", "redis_memory"),
            ("patroni", "patroni_shared_buffers", "patroni_memory"),
        ):
            inside, limit = (inventory.value(host, name) for name in (part, whole))
            size, most = as_bytes(inside), as_bytes(limit)
            if host in inventory.members(group) and size and most and size >= most:
                yield Problem(host, part, f"{inside}, as much as {whole} or more", f"clearly less than {limit}")


# --- services ----------------------------------------------------------------------------------------------------


@rule
def patroni_times(inventory: Inventory) -> Iterator[Problem]:
    """A leader has to have two attempts to renew its lease: ttl >= loop_wait + 2 * retry_timeout."""
    for host in inventory.members("patroni"):
        ttl, wait, retry = (
            inventory.integer(host, f"patroni_{name}") for name in ("ttl", "loop_wait", "retry_timeout")
        )
        if ttl is None or wait is None or retry is None:
            continue
        if ttl < wait + 2 * retry:
            expected = f"{wait + 2 * retry} or more: patroni_loop_wait {wait} + 2 x patroni_retry_timeout {retry}"
            yield Problem(host, "patroni_ttl", str(ttl), expected)
        for name, least, value in (("ttl", 20, ttl), ("loop_wait", 1, wait), ("retry_timeout", 3, retry)):
            if value < least:
                yield Problem(host, f"patroni_{name}", str(value), f"{least} or more, as Patroni demands")


@rule
def synchronous_standbys(inventory: Inventory) -> Iterator[Problem]:
    """PostgreSQL cannot wait for more standbys than there are."""
    members = inventory.members("patroni")
    for host in members:
        count = inventory.integer(host, "patroni_synchronous_node_count")
        if count is not None and not 1 <= count < max(len(members), 2):
            expected = f"1 to {max(len(members) - 1, 1)}: {len(members)} hosts have that many standbys"
            yield Problem(host, "patroni_synchronous_node_count", str(count), expected)


@rule
def etcd_times(inventory: Inventory) -> Iterator[Problem]:
    """An election has to wait for several heartbeats."""
    for host in inventory.members("etcd"):
        heartbeat = inventory.integer(host, "etcd_heartbeat_interval")
        election = inventory.integer(host, "etcd_election_timeout")
        if heartbeat is not None and election is not None and not 5 * heartbeat <= election <= 50000:
            expected = f"{5 * heartbeat} to 50000 ms: five times etcd_heartbeat_interval or more"
            yield Problem(host, "etcd_election_timeout", str(election), expected)


@rule
def virtual_address(inventory: Inventory) -> Iterator[Problem]:
    """The load balancer's address is nobody's own, and two hosts or more can have it."""
    members = inventory.members("nginx")
    variable = "neural_virtual_address"
    expected = 'an unused IPv4 address of the private network, or "" for none'
    virtual: set[str] = set()
    for host in inventory.hosts:
        value = inventory.value(host, variable)
        if isinstance(value, Missing) or value == "":
            continue
        address = as_address(value)
        if address is None or address.version != 4:
            yield Problem(host, variable, show(variable, value), expected)
        elif address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
            yield Problem(host, variable, f"{value}, which clients cannot reach", expected)
        else:
            virtual.add(value)
            for other in inventory.hosts:
                for name in ("neural_address", "ansible_host"):
                    if inventory.value(other, name) == value:
                        yield Problem(host, variable, f"{value}, the {name} of {other}", expected)
    if not virtual:
        return
    if len(members) < 2:
        found = f"{len(members)} ({', '.join(members) or 'none'}), although {variable} is set"
        yield Problem("group nginx", "number of hosts", found, f'two hosts or more, or {variable} ""')
    for host in members:
        listening = inventory.value(host, "nginx_listen_addresses")
        every = [item for item in map(as_address, listening if isinstance(listening, list) else []) if item]
        if isinstance(listening, list) and not any(item.version == 4 and item.is_unspecified for item in every):
            found = f"{show('addresses', listening)}, although {variable} is set"
            yield Problem(host, "nginx_listen_addresses", found, "0.0.0.0 among them, as the address comes and goes")
        for name, most in (("virtual_router_id", 255), ("priority", 254), ("prefix_length", 32)):
            number = inventory.integer(host, f"keepalived_{name}")
            if number is not None and not 1 <= number <= most:
                yield Problem(host, f"keepalived_{name}", str(number), f"a whole number from 1 to {most}")
        interval = inventory.value(host, "keepalived_advert_interval")
        if isinstance(interval, (int, float)) and not isinstance(interval, bool) and not 0.01 <= interval <= 40:
            yield Problem(host, "keepalived_advert_interval", f"{interval:g}", "0.01 to 40 seconds, as VRRP demands")
        for name in ("virtual_router_id", "advert_interval", "prefix_length"):
            mine, others = (inventory.value(which, f"keepalived_{name}") for which in (host, members[0]))
            if mine != others and not isinstance(mine, Missing) and not isinstance(others, Missing):
                found = f"{show(name, mine)}, and {show(name, others)} on {members[0]}"
                yield Problem(host, f"keepalived_{name}", found, "the same value on every host of the group nginx")


@rule
def weights(inventory: Inventory) -> Iterator[Problem]:
    """Weights are for hosts that are there."""
    hosts = inventory.members("neural_api")
    for host in inventory.members("nginx"):
        chosen = inventory.value(host, "nginx_weights")
        for name, weight in chosen.items() if isinstance(chosen, dict) else ():
            if name not in hosts:
                found = f"a weight for {name}, a host that is not in the group neural_api{suggestion(str(name), hosts)}"
                yield Problem(host, "nginx_weights", found, f"hosts out of {', '.join(hosts) or 'none'}")
            elif isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 65535:
                yield Problem(host, f"nginx_weights.{name}", show(name, weight), "a whole number from 1 to 65535")


def pools(inventory: Inventory, host: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each worker pool of a host is defined, and the pool, neural_worker_overrides laid over it."""
    value, overrides = (inventory.value(host, f"neural_worker_{name}") for name in ("pools", "overrides"))
    if host not in inventory.members("neural_worker") or not isinstance(value, dict):
        return
    for name, pool in value.items():
        if isinstance(pool, dict):
            over = overrides.get(name) if isinstance(overrides, dict) else None
            yield f"neural_worker_pools.{name}", pool | (over if isinstance(over, dict) else {})


@rule
def worker_pools(inventory: Inventory) -> Iterator[Problem]:
    """Every pool has a name that programs take, a queue, hosts and sensible numbers; every queue has a pool."""
    members = inventory.members("neural_worker")
    served: set[str] = set()
    for host in members:
        known = [where.partition(".")[2] for where, _pool in pools(inventory, host)]
        overrides = inventory.value(host, "neural_worker_overrides")
        for name in overrides if isinstance(overrides, dict) else ():
            if name not in known:
                found = f"for a pool that does not exist{suggestion(str(name), known)}"
                yield Problem(host, f"neural_worker_overrides.{name}", found, f"a pool out of {', '.join(known)}")
        for where, pool in pools(inventory, host):
            name = where.partition(".")[2]
            if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
                yield Problem(host, where, "a name that containers cannot have", "a name of a-z, 0-9 and -")
            queues = pool.get("queues")
            queues = [queues] if isinstance(queues, str) else queues
            if not isinstance(queues, list) or not queues:
                expected = "a list of one queue or more, such as " + ", ".join(QUEUES)
                yield Problem(host, f"{where}.queues", f"without a queue for the pool {name}", expected)
                continue
            for queue in queues:
                if not isinstance(queue, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", queue):
                    yield Problem(host, f"{where}.queues", show("queue", queue), "names of A-Z a-z 0-9 . _ -")
            for key, least in (("replicas", 0), ("concurrency", 1), ("max_tasks_per_child", 1)):
                number = pool.get(key, 1)
                if isinstance(number, bool) or not isinstance(number, int) or number < least:
                    yield Problem(host, f"{where}.{key}", show(key, number), f"a whole number, {least} or more")
            group = pool.get("group", "neural_worker")
            if group not in inventory.groups:
                found = f"{group}, a group that does not exist{suggestion(str(group), inventory.groups)}"
                yield Problem(host, f"{where}.group", found, "a group of hosts of the group neural_worker")
            elif pool.get("replicas", 1) and set(inventory.members(group)) & set(members):
                served.update(str(queue) for queue in queues)
    for queue in QUEUES if members else ():
        if queue not in served:
            found = f"without a worker for the queue {queue}{suggestion(queue, served - set(QUEUES))}"
            expected = "a pool with replicas for each of " + ", ".join(QUEUES)
            yield Problem("group neural_worker", "neural_worker_pools", found, expected)


# --- ports -------------------------------------------------------------------------------------------------------


def slots(inventory: Inventory, host: str) -> list[tuple[str, int]]:
    """Return the loopback ports that instances of the application may take on a host."""
    result = []
    for tier, group in SLOTTED.items():
        first, count = inventory.integer(host, f"{tier}_slot_port"), inventory.integer(host, f"{tier}_slots")
        if host in inventory.members(group) and first is not None and count is not None:
            result += [(f"{tier}_slot_port (slot {number + 1})", first + number) for number in range(min(count, 1000))]
    return result


def listeners(inventory: Inventory, host: str) -> list[tuple[str, str, int]]:
    """Return (side, variable, port) of all that listens; side is address, local (loopback and bridge) or any."""
    addressed = inventory.value(host, "neural_address")
    databases = ("neural_postgresql_port", "neural_postgresql_replica_port", "neural_redis_port")
    named = {
        "registry": [("address", "neural_registry_port")],
        "etcd": [("address", "neural_etcd_client_port"), ("address", "neural_etcd_peer_port")],
        "patroni": [("address", "neural_postgresql_port"), ("address", "neural_patroni_port")],
        "redis": [("address", "neural_redis_port"), ("address", "neural_redis_sentinel_port")],
        "haproxy": [
            *(("local", name) for name in databases),
            ("local", "haproxy_health_port"),
            ("address", "neural_haproxy_stats_port"),
        ],
        "nginx": [("any", "nginx_http_port"), ("any", "nginx_https_port")],
    }
    bound = inventory.value(host, "haproxy_database_bind")
    if isinstance(bound, list) and addressed in bound:
        named["haproxy"] += [("address", name) for name in databases]
    bound = inventory.value(host, "redis_bind")
    if isinstance(bound, list) and "127.0.0.1" in bound:
        named["redis"].append(("local", "neural_redis_port"))
    if host in inventory.members("neural_api"):
        named["haproxy"].append(("address", "neural_api_port"))
    if host in inventory.members("neural_dashboard"):
        named["haproxy"].append(("address", "neural_dashboard_port"))
    result = []
    for group, entries in named.items():
        for side, name in entries if host in inventory.members(group) else ():
            port = inventory.integer(host, name)
            if port is not None:
                result.append((side, name, port))
    result += [("local", name, port) for name, port in slots(inventory, host)]
    return result


def ssh_port(inventory: Inventory, host: str) -> int:
    """Return the port that Ansible reaches a host on."""
    port = inventory.integer(host, "ansible_port")
    return 22 if port is None else port


def host_ports(inventory: Inventory, host: str) -> list[dict[str, Any]]:
    """Return what listens on a host, as the module host_check takes it."""
    address, bridge_address = (inventory.value(host, f"neural_{name}address") for name in ("", "bridge_"))
    sides: dict[str, list[Any]] = {"address": [address], "local": ["127.0.0.1", bridge_address], "any": []}
    return [
        {"variable": name, "port": port, "addresses": sides[side]} for side, name, port in listeners(inventory, host)
    ]


def peer(inventory: Inventory, host: str) -> dict[str, Any]:
    """Return a host as the module host_check asks for it: SSH's port, and what others may reach."""
    ports = {port for side, _name, port in listeners(inventory, host) if side != "local"}
    return {
        "name": host,
        "address": inventory.value(host, "neural_address"),
        "ports": [ssh_port(inventory, host), *sorted(ports)],
    }


@rule
def ports(inventory: Inventory) -> Iterator[Problem]:
    """Ports are ports, and no two programs of a host want the same one."""
    for host in inventory.hosts:
        for name in inventory.values[host]:
            port = inventory.integer(host, name)
            if name.endswith("_port") and port is not None and not 1 <= port <= 65535:
                yield Problem(host, name, str(port), "a port from 1 to 65535")
        taken = [("any", "SSH (ansible_port)", ssh_port(inventory, host))]
        for side, name, port in listeners(inventory, host):
            for other_side, other, other_port in taken:
                if port == other_port and (side == other_side or "any" in (side, other_side)):
                    yield Problem(host, name, f"{port}, which {other} takes on this host, too", "a port of its own")
                    break
            taken.append((side, name, port))


@rule
def instances(inventory: Inventory) -> Iterator[Problem]:
    """Instances, and one more while they are replaced, fit into the slots; slots fit below port 65536."""
    for tier, group in SLOTTED.items():
        for host in inventory.members(group):
            count, first = inventory.integer(host, f"{tier}_slots"), inventory.integer(host, f"{tier}_slot_port")
            # A host has one dashboard and one canary, and no variable for it.
            wanted = inventory.integer(host, f"{tier}_instances")
            if count is not None and count < 2:
                yield Problem(
                    host, f"{tier}_slots", str(count), "2 or more, so that a new instance starts beside the old one"
                )
            if count is not None and wanted is not None and not 1 <= wanted < max(count, 2):
                expected = f"1 to {max(count, 2) - 1}: {tier}_slots is {count}, and one slot is for an update"
                yield Problem(host, f"{tier}_instances", str(wanted), expected)
            if count is not None and first is not None and first + count - 1 > 65535:
                found = f"{first}, so that the last of {count} slots is port {first + count - 1}"
                yield Problem(host, f"{tier}_slot_port", found, "slots that end at port 65535 or below")


# By variable of the circuit breaker: the least, the most, and what it counts.
BREAKER = {
    "haproxy_breaker_connections": (1, None, "requests"),
    "haproxy_breaker_queue": (1, None, "requests"),
    "haproxy_breaker_errors": (0, None, "answers; 0 for no ejection"),
    "haproxy_breaker_time": (1, None, "seconds"),
    "haproxy_breaker_percent": (0, 100, "per cent"),
}


@rule
def circuit_breaker(inventory: Inventory) -> Iterator[Problem]:
    """The circuit breaker lets requests through: with a queue of none HAProxy would refuse them all."""
    for host in inventory.members("neural_api"):
        for name, (least, most, what) in BREAKER.items():
            number = inventory.integer(host, name)
            if number is not None and (number < least or (most is not None and number > most)):
                allowed = f"{least} or more" if most is None else f"{least} to {most}"
                yield Problem(host, name, str(number), f"{allowed} {what}")


# --- networks and names ------------------------------------------------------------------------------------------


@rule
def bridge(inventory: Inventory) -> Iterator[Problem]:
    """The containers' network is one, holds the bridge's address, and none of the hosts'."""
    for host in inventory.hosts:
        value = inventory.value(host, "neural_bridge_subnet")
        if isinstance(value, Missing):
            continue
        network = as_network(value)
        if network is None or network.num_addresses < 8:
            yield Problem(host, "neural_bridge_subnet", show("subnet", value), "a network such as 172.31.255.0/24")
            continue
        for other in inventory.hosts:
            address = as_address(inventory.value(other, "neural_address"))
            if address and address in network:
                found = f"{network}, which holds {address}, the address of {other}"
                yield Problem(host, "neural_bridge_subnet", found, "a network that holds no host's address")
                break
        own = as_address(inventory.value(host, "neural_bridge_address"))
        if own is None or own not in network or own in (network.network_address, network.broadcast_address):
            found = show("address", inventory.value(host, "neural_bridge_address"))
            yield Problem(host, "neural_bridge_address", found, f"an address inside neural_bridge_subnet, {network}")


@rule
def names(inventory: Inventory) -> Iterator[Problem]:
    """Names, domains and paths are such that programs take them."""
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    for host in inventory.hosts:
        public = inventory.value(host, "neural_public_name")
        if "neural_public_name" not in inventory.errors.get(host, {}) and not isinstance(public, Missing):
            valid = isinstance(public, str) and (as_address(public) or re.fullmatch(rf"{label}(\.{label})*", public))
            if not valid:
                expected = "a host name or an address, without https:// and path"
                yield Problem(host, "neural_public_name", show("name", public), expected)
        for name, pattern, expected in (
            ("neural_domain", rf"{label}(\.{label})*", "a domain such as neural.internal"),
            (
                "neural_platform_name",
                r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?",
                "a name of a-z, 0-9 and -, at most 32 characters",
            ),
            (
                "neural_dashboard_path",
                r"/([A-Za-z0-9._~-]+/)+",
                "a path such as /dashboard/, with a slash at both ends",
            ),
            ("neural_postgresql_database", r"[a-z_][a-z0-9_]{0,62}", "a name of a-z, 0-9 and _"),
            ("neural_postgresql_user", r"[a-z_][a-z0-9_]{0,62}", "a name of a-z, 0-9 and _"),
            ("neural_redis_master_name", r"[A-Za-z0-9._-]+", "a name of A-Z a-z 0-9 . _ -"),
            ("neural_bridge_name", r"[a-z0-9][a-z0-9-]{0,14}", "a name of a-z, 0-9 and -, at most 15 characters"),
            ("neural_config_dir", r"/[^\s:]+[^\s:/]", "an absolute path of some depth"),
            ("neural_data_dir", r"/[^\s:]+[^\s:/]", "an absolute path of some depth"),
        ):
            value = inventory.value(host, name)
            if isinstance(value, str) and not re.fullmatch(pattern, value):
                yield Problem(host, name, show(name, value), expected)


# --- all of it ---------------------------------------------------------------------------------------------------


def sentences(problems: Iterable[Problem], hosts: list[str]) -> list[str]:
    """Return a sentence a problem; the same one on several hosts is told once."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for problem in problems:
        where = places.setdefault((problem.variable, problem.found, problem.expected), [])
        if problem.where not in where:
            where.append(problem.where)
    result = []
    for (variable, found, expected), where in places.items():
        place = "every host" if len(hosts) > 1 and set(where) == set(hosts) else ", ".join(where)
        result.append(f"{place}: {variable} is {found}; expected {expected}.")
    return result


def hide(text: str, inventory: Inventory) -> str:
    """Remove every secret's value from a text."""
    values: set[str] = set()
    for host in inventory.hosts:
        for name, value in inventory.values[host].items():
            if is_secret(name):
                values.update(str(item) for item in (value if isinstance(value, list) else [value]))
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= 6 and value not in ("not set",):
            text = text.replace(value, "(hidden)")
    return text


def check(inventory: Inventory) -> list[str]:
    """Return all problems of an inventory, a sentence each."""
    found = [problem for function in RULES for problem in function(inventory)]
    return [hide(sentence, inventory) for sentence in sentences(found, inventory.hosts)]
