"""Check a configuration of Patroni, whose path is the argument, before anything runs with it. Begins as root.

Ends with the exit status of the first check that fails, 0 if none does. It says what is wrong.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from patroni import validator
from patroni.__main__ import main as patroni

# PostgreSQL does not run as root; and without files of its own, as there is no cluster here.
USER = "postgres"
NO_FILES = ("config_file=/dev/null", "hba_file=/dev/null", "ident_file=/dev/null", "data_directory=/tmp")


def postgresql_takes(parameters: dict[str, Any]) -> int:
    """Return the status of PostgreSQL's own check: a value that it does not take Patroni leaves out, and logs that."""
    options = [f"{name}={value}" for name, value in parameters.items() if value is not None]
    settings = [part for option in (*NO_FILES, *options) for part in ("-c", option)]
    return subprocess.call(
        ["postgres", "-C", "port", *settings], user=USER, group=USER, extra_groups=[], stdout=subprocess.DEVNULL
    )


def boolean_or_quorum(value: object) -> None:
    """Refuse what synchronous_mode cannot be. Raises AssertionError."""
    validator.assert_(value in (True, False, "quorum"))


def ease_patroni() -> None:
    """Take out of Patroni's check that each etcd member can be reached just now, which need not be so for a change.

    And that synchronous_mode is a boolean: Patroni 4.0 knows quorum, only its check does not.
    """
    validator.validate_host_port_list = lambda hosts: all(validator.split_host_port(host, 1) for host in hosts)
    sections = validator.schema.validator.items()
    dcs = next(section for key, section in sections if getattr(key, "name", "") == "bootstrap")["dcs"]
    dcs.update({key: boolean_or_quorum for key in dcs if key.name == "synchronous_mode"})


def main(path: str) -> None:
    """Check the file. Raises SystemExit."""
    given = yaml.safe_load(Path(path).read_text())
    status = postgresql_takes(given["bootstrap"]["dcs"]["postgresql"]["parameters"])
    if status:
        sys.exit(status)
    ease_patroni()
    # Of a living cluster something listens on the ports.
    sys.argv[1:] = ["--validate-config", "--ignore-listen-port", path]
    patroni()


if __name__ == "__main__":
    main(sys.argv[1])
