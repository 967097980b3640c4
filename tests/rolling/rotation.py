"""Rotations of secrets: what they must leave of the old value (nothing) and of the containers (all of them)."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import labtools as lab
import redis

from resilience import netns
from resilience.clients import FAILURES, Https, Postgres, postgresql_parameters
from resilience.credentials import Credentials, members
from resilience.health import virtual_address
from resilience.samplers import haproxy_view
from rolling.operation import Check, Operation, Seen, touches_only, workers_consume

PLAYBOOK = "rotate_secrets"
REDIS_PORTS = {"Redis": 6379, "Sentinel": 26379}
SECONDS = 30.0

# The secrets as they were before.
before: dict[str, str] = {}


class Before(Credentials):
    """What a client has that was not told of the new values."""

    def secret(self, name: str) -> str:
        return before[name]


@functools.cache
def present() -> Credentials:
    return Credentials(lab.ROOT / "build" / "rolling" / "credentials")


@functools.cache
def past() -> Credentials:
    return Before(lab.ROOT / "build" / "rolling" / "credentials")


def remember() -> None:
    before.clear()
    before.update(lab.inventory_secrets())


def rotate(secret: str, *more: str) -> Callable[[], tuple[str, ...]]:
    return lambda: ("-e", f"secret={secret}", *more)


def opens(credentials: Credentials, secret: str) -> list[str]:
    """Return what a secret opens, of what it should."""
    return {
        "neural_api_keys[0]": _opens_api,
        "neural_db_password": _opens_database,
        "neural_redis_password": _opens_redis,
        "neural_haproxy_stats_password": _opens_statistics,
    }[secret](credentials)


def _opens_api(credentials: Credentials) -> list[str]:
    headers = {"X-API-Key": credentials.secret("neural_api_keys[0]")}
    target = Https(f"https://{virtual_address()}", lab.INVENTORY / "ca.crt", headers)
    # The instances of all hosts are asked, as far as a few new connections reach them.
    answers = {
        target.connection().request("GET", "/jobs?limit=1", time.monotonic() + SECONDS)[0] for _number in range(9)
    }
    return [f"the API ({answers})"] if answers != {401} else []


def _log_in(parameters: dict[str, object]) -> None:
    Postgres(parameters, time.monotonic() + SECONDS).close()


def _opens_database(credentials: Credentials) -> list[str]:
    found = []
    for host in members("patroni"):
        try:
            netns.inside(host, functools.partial(_log_in, postgresql_parameters(credentials, host, lab.address(host))))
            found.append(f"PostgreSQL on {host}")
        except FAILURES as error:
            assert "password authentication failed" in str(error), error
    return found


def _opens_redis(credentials: Credentials) -> list[str]:
    files = credentials.files("app1")
    found = []
    for host in members("redis"):
        for what, port in REDIS_PORTS.items():
            client = redis.Redis(
                host=lab.address(host),
                port=port,
                password=credentials.secret("neural_redis_password"),
                ssl=True,
                ssl_ca_certs=str(files.ca),
                ssl_certfile=str(files.certificate),
                ssl_keyfile=str(files.key),
                socket_timeout=SECONDS,
            )
            try:
                client.ping()
                found.append(f"{what} on {host}")
            except redis.AuthenticationError:
                pass
            finally:
                client.close()
    return found


def _opens_statistics(credentials: Credentials) -> list[str]:
    found = []
    for host in members("haproxy"):
        try:
            haproxy_view(credentials, host, SECONDS)
            found.append(f"HAProxy on {host}")
        except OSError as error:
            assert "401" in str(error), error
    return found


def rotated(secret: str) -> Check:
    """Check that the new value opens all that the old one did, and the old one nothing."""

    def check(_seen: Seen) -> list[str]:
        now = lab.inventory_secrets()
        wrong = [f"{name} is left in the file" for name in now if name.endswith(("_next", "_previous"))]
        if now[secret] == before[secret]:
            return [*wrong, f"{secret} is what it was"]
        wrong += [f"the old {secret} opens {what} still" for what in opens(past(), secret)]
        wrong += [] if opens(present(), secret) else [f"the new {secret} opens nothing"]
        return wrong

    return check


def opens_everywhere(secret: str, count: int) -> Check:
    """Check that the new value opens so many services, each on its own host."""

    def check(_seen: Seen) -> list[str]:
        found = opens(present(), secret)
        return [] if len(found) == count else [f"the new {secret} opens {found} only"]

    return check


def both_keys_open(_seen: Seen) -> list[str]:
    now = lab.inventory_secrets()
    same = now["neural_api_keys[0]"] == before["neural_api_keys[0]"]
    wrong = ["there is no new key"] if same else []
    return wrong + [
        f"the {which} key opens nothing"
        for which, who in (("new", present()), ("old", past()))
        if not opens(who, "neural_api_keys[0]")
    ]


def sentinel_remembers(_seen: Seen) -> list[str]:
    """Check that a Sentinel that is started again takes what it took before: its file is its own."""
    host = members("redis")[-1]
    lab.on(host, "docker", "restart", "neural-sentinel")
    end = time.monotonic() + SECONDS
    mine = f"Sentinel on {host}"
    while True:
        try:
            if mine in opens(present(), "neural_redis_password"):
                return (
                    [f"the old password opens {mine} again"] if mine in opens(past(), "neural_redis_password") else []
                )
        except redis.ConnectionError:
            pass
        if time.monotonic() > end:
            return [f"the new password does not open {mine} when it has started again"]
        time.sleep(0.5)


def prepare_key() -> None:
    """Have one key: an owner of two is given no third."""
    if "neural_api_keys[1]" in lab.inventory_secrets():
        lab.playbook(PLAYBOOK, *rotate("neural_api_keys", "-e", "retire=true")())
    remember()


def prepare_retirement() -> None:
    """Have two keys, whatever was run before; the old one is what has to go."""
    if "neural_api_keys[1]" not in lab.inventory_secrets():
        lab.playbook(PLAYBOOK, *rotate("neural_api_keys")())
    remember()
    before["neural_api_keys[0]"] = before["neural_api_keys[1]"]


ROTATIONS = (
    Operation(
        "rotate-api-key",
        "Secrets: another API key, beside the old one",
        PLAYBOOK,
        rotate("neural_api_keys"),
        checks=(both_keys_open, touches_only()),
        prepare=prepare_key,
    ),
    Operation(
        "retire-api-key",
        "Secrets: the old API key goes",
        PLAYBOOK,
        rotate("neural_api_keys", "-e", "retire=true"),
        checks=(rotated("neural_api_keys[0]"), touches_only()),
        prepare=prepare_retirement,
    ),
    Operation(
        "rotate-database-password",
        "Secrets: the application's database password",
        PLAYBOOK,
        rotate("neural_db_password"),
        checks=(rotated("neural_db_password"), opens_everywhere("neural_db_password", 3), touches_only()),
        prepare=remember,
    ),
    Operation(
        "rotate-redis-password",
        "Secrets: Redis' password",
        PLAYBOOK,
        rotate("neural_redis_password"),
        checks=(
            rotated("neural_redis_password"),
            opens_everywhere("neural_redis_password", 6),
            touches_only(),
            workers_consume,
            sentinel_remembers,
        ),
        prepare=remember,
    ),
    Operation(
        "rotate-stats-password",
        "Secrets: the password of HAProxy's statistics",
        PLAYBOOK,
        rotate("neural_haproxy_stats_password"),
        checks=(
            rotated("neural_haproxy_stats_password"),
            opens_everywhere("neural_haproxy_stats_password", 3),
            touches_only(),
        ),
        prepare=remember,
    ),
    Operation(
        "rotate-superuser-password",
        "Secrets: the password of PostgreSQL's superuser",
        PLAYBOOK,
        rotate("neural_db_superuser_password"),
        checks=(touches_only(),),
        # What logs in with it is the playbook that makes the application's role.
        restore=lambda: lab.playbook("patroni"),
    ),
    Operation(
        "rotate-replication-password",
        "Secrets: the password of PostgreSQL's replicas",
        PLAYBOOK,
        rotate("neural_db_replication_password"),
        checks=(touches_only(),),
        # Every replica connects anew, and a former leader becomes one.
        restore=lambda: lab.playbook("switchover", "-e", "service=postgresql"),
    ),
)
