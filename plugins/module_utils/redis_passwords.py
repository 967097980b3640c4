# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The passwords of Redis and Sentinel while they run: which are taken, and which one they log in to each other with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ansible_collections.neural.platform.plugins.module_utils.redis_sentinel import (
    Connection,
    RedisError,
    Target,
    pairs,
)

USER = "default"


class PasswordsError(Exception):
    """A server could not be reached or refused; the message names it and shows no password."""


def hashed(passwords: Sequence[str]) -> list[str]:
    """Return passwords as Redis shows them."""
    return [hashlib.sha256(password.encode()).hexdigest() for password in passwords]


def acl_rules(taken: Sequence[str], wanted: Sequence[str], remove: bool) -> list[str]:
    """Return the rules that add, or remove, what differs; both are hashes."""
    if remove:
        return [f"!{item}" for item in taken if item not in wanted]
    return [f"#{item}" for item in wanted if item not in taken]


class Server:
    """A Redis or a Sentinel that is logged in to."""

    def __init__(self, name: str, connection: Connection, sentinel: bool) -> None:
        self.name = name
        self.sentinel = sentinel
        self._connection = connection

    def command(self, *words: str) -> Any:
        """Send a command. Raises PasswordsError."""
        try:
            return self._connection.command(*words)
        except (OSError, RedisError) as error:
            raise PasswordsError(f"{self.name} refuses {words[0]} {words[1]}: {error}") from error

    def taken(self) -> list[str]:
        """Return the hashes of the passwords that it takes."""
        found: Mapping[str, Any] = pairs(self.command("ACL", "GETUSER", USER))
        return list(found["passwords"])

    def allow(self, rules: Sequence[str]) -> None:
        """Change which passwords it takes. Sentinel then writes them down; Redis' file is Ansible's."""
        self.command("ACL", "SETUSER", USER, *rules)
        if self.sentinel:
            self.command("SENTINEL", "FLUSHCONFIG")

    def logs_in_with(self, password: str) -> bool:
        """Whether it logs in to its master with a password; a Sentinel does not tell."""
        return self.sentinel or pairs(self.command("CONFIG", "GET", "masterauth")).get("masterauth") == password

    def log_in_with(self, password: str, master_name: str) -> None:
        """Have it log in to others with a password from now on; it writes it down if it is a Sentinel."""
        if self.sentinel:
            self.command("SENTINEL", "SET", master_name, "auth-pass", password)
            self.command("SENTINEL", "CONFIG", "SET", "sentinel-pass", password)
        else:
            self.command("CONFIG", "SET", "masterauth", password)


def logged_in(target: Target, name: str, address: str, sentinel: bool, passwords: Sequence[str]) -> Server:
    """Return a server that took the first of the passwords that it takes. Raises PasswordsError."""
    what = f"{'Sentinel' if sentinel else 'Redis'} on {name}"
    refused = ""
    for password in passwords:
        as_target = replace(target, password=password)
        try:
            return Server(what, (as_target.sentinel if sentinel else as_target.redis)(address), sentinel)
        except RedisError as error:
            refused = str(error)
        except OSError as error:
            raise PasswordsError(f"{what} ({address}) does not answer: {error}") from error
    raise PasswordsError(f"{what} ({address}) takes none of the passwords: {refused}")


def change_passwords(target: Target, password: str, others: Sequence[str], check_mode: bool) -> list[str]:
    """Make all servers take these passwords and no other, and log in to each other with the first; return what changed.

    Whatever of it an earlier run has done, no server is refused by another on the way: first every server takes all of
    them, then every server logs in with the first one, then no server takes another one any more.
    Raises PasswordsError.
    """
    wanted = hashed([password, *others])
    done: list[str] = []
    with ExitStack() as stack:
        servers = []
        for name, address in target.members.items():
            for sentinel in (False, True):
                server = logged_in(target, name, address, sentinel, [password, *others])
                stack.callback(server._connection.close)
                servers.append(server)
        taken = {server.name: server.taken() for server in servers}
        for server in servers:
            if rules := acl_rules(taken[server.name], wanted, remove=False):
                done.append(f"{server.name} takes {len(rules)} more")
                if not check_mode:
                    server.allow(rules)
        surplus = {name: rules for name, found in taken.items() if (rules := acl_rules(found, wanted, remove=True))}
        # What a Sentinel logs in with cannot be asked; it is the first one on all of them before any other is removed.
        if surplus or not all(server.logs_in_with(password) for server in servers):
            for server in servers:
                if server.sentinel or not server.logs_in_with(password):
                    done.append(f"{server.name} logs in with the first one")
                    if not check_mode:
                        server.log_in_with(password, target.master_name)
        for server in servers:
            if server.name in surplus:
                done.append(f"{server.name} takes {len(surplus[server.name])} less")
                if not check_mode:
                    server.allow(surplus[server.name])
    return done
