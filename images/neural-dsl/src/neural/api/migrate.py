"""Bring the database's schema up to date: ``python -m neural.api.migrate [--check]``.

Safe when several hosts run it at once: PostgreSQL's advisory lock lets one of them work while the others wait and then
find nothing to do. Waits for the primary, at most MIGRATE_TIMEOUT seconds. The last line is JSON: ``changed`` and
``revision``. With ``--check`` nothing is changed, and 2 is the exit status where something would be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from neural.api import db
from neural.api.settings import SettingsError, masked, settings

LOCK = 0x6E657572616C02


def configuration() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def head(config: Config) -> str:
    """The newest revision that this image knows."""
    return str(ScriptDirectory.from_config(config).get_current_head())


def known(config: Config) -> set[str]:
    """All revisions that this image knows."""
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def current(connection: Connection) -> str | None:
    """The revision of the database."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, check: bool) -> tuple[bool, str]:
    """Whether something is changed (would be, with ``check``), and the revision afterwards."""
    config = configuration()
    target, found = head(config), current(connection)
    # A newer release's schema suits this one: a rolling update runs both.
    if found == target or (found is not None and found not in known(config)):
        return False, found
    if check:
        return True, target
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    connection.execute(text("SET LOCAL lock_timeout = '30s'"))
    found = current(connection)
    if found == target or (found is not None and found not in known(config)):
        return False, found
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return True, target


def main(arguments: list[str]) -> int:
    """Migrate, or say in one sentence why not."""
    check = arguments == ["--check"]
    if arguments and not check:
        sys.stderr.write("usage: python -m neural.api.migrate [--check]\n")
        return 1
    started, timeout = time.monotonic(), float(os.environ.get("MIGRATE_TIMEOUT", "120"))
    try:
        settings().require("migrate")
        changed, revision = db.write(lambda connection: upgrade(connection, check), timeout)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except db.DatabaseUnavailableError as error:
        sys.stderr.write(f"{masked(str(error))} (waited {time.monotonic() - started:.0f} s)\n")
        return 1
    except SQLAlchemyError as error:
        reason = masked(str(getattr(error, "orig", None) or error))
        sys.stderr.write(f"The schema could not be brought up to date: {reason}\n")
        return 1
    sys.stdout.write(json.dumps({"changed": changed, "revision": revision}) + "\n")
    return 2 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
