"""Fixtures of the drills. They need the lab that `make demo` brings up, and root (threads enter servers' networks)."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import labtools as lab
import pytest

from resilience import clients, faults, report
from resilience.credentials import Credentials, members
from resilience.drills import DRILLS, Stage
from resilience.health import Health

OUTPUT = lab.ROOT / "build" / "resilience"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="how often the whole list of drills is run")
    parser.addoption(
        "--times",
        choices=["limit", "show"],
        default="limit",
        help="whether a drill that takes too long fails, or only shows it: a slow machine must lose nothing either",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "short: one of the few drills that `make test` runs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "drill" not in metafunc.fixturenames:
        return
    chosen = [
        pytest.param(str(number), drill, id=f"{number}-{drill.name}", marks=[pytest.mark.short] if drill.short else [])
        for number in range(1, metafunc.config.getoption("--rounds") + 1)
        for drill in DRILLS
    ]
    metafunc.parametrize(("round_name", "drill"), chosen)


def settings_in_force(health: Health) -> dict[str, str]:
    """Return what decides how long a failover takes, as the running services have it."""
    patroni = health.settings(health.primary())
    host = members("redis")[0]
    words = health.redis(host, 26379).execute_command("SENTINEL", "MASTER", "neural-redis")
    sentinel_master = dict(zip(words[::2], words[1::2], strict=True)) if isinstance(words, list) else words
    replicas = health.redis(host).config_get("min-replicas-*")
    keepalived = lab.on(members("nginx")[0], "cat", "/etc/neural/keepalived/keepalived.conf")
    advert = next(line.split()[1] for line in keepalived.splitlines() if line.split()[:1] == ["advert_int"])
    settings = {f"patroni {name}": patroni[name] for name in ("ttl", "loop_wait", "retry_timeout", "synchronous_mode")}
    settings |= {f"redis {name}": value for name, value in replicas.items()}
    settings["sentinel down-after-milliseconds"] = sentinel_master["down-after-milliseconds"]
    settings["keepalived advert_int"] = f"{advert} s"
    return {name: str(value) for name, value in settings.items()}


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "docker": lab.run("docker", "version", "--format", "{{.Server.Version}}").stdout.strip(),
        "servers": lab.on("db1", "sh", "-c", ". /etc/os-release; echo $PRETTY_NAME").strip(),
    }


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    assert os.geteuid() == 0, "the drills enter the lab servers' networks: run them as root (sudo make resilience)"
    faults.restore_all()
    return Credentials(OUTPUT / "credentials")


@pytest.fixture(scope="session")
def stage(credentials: Credentials) -> Iterator[Stage]:
    """The platform, well, with what the ledgers need in its database; left as it was."""
    health = Health(credentials)
    health.wait(180)
    health.learn()
    report.environment(OUTPUT, machine=machine(), settings=settings_in_force(health))
    clients.install_tables()
    clients.install_audit()
    yield Stage(health)
    faults.restore_all()
    health.wait(180)
    clients.remove_audit()
    clients.remove_tables()


@pytest.fixture(scope="session", autouse=True)
def page() -> Iterator[Path]:
    """Make the page of whatever was measured, also when a drill failed."""
    yield OUTPUT
    if any(OUTPUT.glob("*/*.json")):
        report.write(OUTPUT)
