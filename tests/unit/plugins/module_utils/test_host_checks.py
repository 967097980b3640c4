"""What the kernel and Docker say about a host, as recorded, and what is made of it."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import pytest
from ansible_collections.neural.platform.plugins.module_utils import host_checks
from ansible_collections.neural.platform.plugins.module_utils.host_checks import Listener

FIXTURES = Path(__file__).parents[2] / "fixtures" / "host"


def recorded(name: str) -> str:
    return (FIXTURES / name).read_text()


def test_os_release() -> None:
    release = host_checks.parse_os_release(recorded("os-release"))
    assert release["ID"] == "debian"
    assert release["VERSION_ID"] == "13"
    assert release["PRETTY_NAME"].startswith("Debian GNU/Linux 13")


def test_memory() -> None:
    assert host_checks.parse_memory(recorded("meminfo")) == 24105
    assert host_checks.parse_memory("") == 0


def test_listeners() -> None:
    listeners = host_checks.parse_listeners(recorded("tcp")) + host_checks.parse_listeners(recorded("tcp6"))
    places = {(listener.address, listener.port) for listener in listeners}
    assert (str(ipaddress.IPv4Address(0)), 22) in places
    assert ("127.0.0.11", 35027) in places
    assert ("::", 22) in places
    assert all(listener.inode for listener in listeners)


@pytest.mark.parametrize(
    ("addresses", "uids", "blocked"),
    [(["10.0.0.1"], set(), True), ([], set(), True), (["127.0.0.1"], set(), False), (["10.0.0.1"], {10002}, False)],
)
def test_in_the_way(addresses: list[str], uids: set[int], blocked: bool) -> None:
    listeners = [Listener("10.0.0.1", 5432, 10002, 1), Listener("10.0.0.1", 80, 0, 2)]
    assert bool(host_checks.in_the_way(listeners, 5432, addresses, uids)) is blocked


def test_all_addresses_are_in_everybodys_way() -> None:
    assert host_checks.in_the_way([Listener("::", 5432, 0, 1)], 5432, ["10.0.0.1"], set())


def test_published_ports() -> None:
    assert host_checks.published_ports(recorded("docker-ps")) == {8001, 8051, 9000, 9001, 9002}
    assert host_checks.published_ports("") == set()


def test_owner_and_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        inode = os.fstat(server.fileno()).st_ino
        assert host_checks.owner(inode)[1] == os.getpid()
        peers = [{"name": "me", "address": "127.0.0.1", "ports": [port]}]
        assert host_checks.out_of_reach(peers, 1) == []
        listeners = host_checks.parse_listeners(Path("/proc/net/tcp").read_text())
        assert Listener("127.0.0.1", port, os.getuid(), inode) in listeners
    assert host_checks.out_of_reach(peers, 1) == [], "a refusal is an answer"
    assert host_checks.out_of_reach([{"name": "x", "address": "no address", "ports": [1]}], 1)
    assert host_checks.out_of_reach([], 1) == []


def test_a_file_that_a_program_closes_meanwhile_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "77" / "fd"
    files.mkdir(parents=True)
    (tmp_path / "77" / "comm").write_text("dockerd\n")
    (files / "5").symlink_to("socket:[4711]")
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: [*([path / "closed"] if path == files else []), *listed(path)])
    assert host_checks.owner(4711, tmp_path) == ("dockerd", 77)
    assert host_checks.owner(4712, tmp_path) == ("a program that cannot be seen", 0)


def test_free_space_of_a_path_that_does_not_exist(tmp_path: Path) -> None:
    assert host_checks.free_space(str(tmp_path / "a" / "b")) == host_checks.free_space(str(tmp_path))
