"""Check settings, connecting to nothing: ``python -m neural.api.check_config [api|worker|migrate|dashboard]``."""

from __future__ import annotations

import sys

from neural.api.settings import SettingsError, settings

ROLES = ("api", "worker", "migrate", "dashboard")


def main(arguments: list[str]) -> int:
    """Say what is wrong in one sentence; 0 if nothing is."""
    role = arguments[0] if arguments else "api"
    if role not in ROLES:
        sys.stderr.write(f"{role!r} is unknown: expected one of {', '.join(ROLES)}.\n")
        return 2
    try:
        settings().require(role)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("ok\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
