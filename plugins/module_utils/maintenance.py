# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the file on a host in maintenance says, and which runs it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import printable


def described(text: str) -> str:
    """Return since when and by whom a host is in maintenance, as a part of a sentence; text is the file's."""
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    values = found if isinstance(found, dict) else {}
    since, who, controller = (printable(str(values.get(name) or "")) for name in ("since", "who", "controller"))
    by = f"by {who or 'somebody unknown'} on {controller or 'an unknown host'}"
    return f"since {since or 'an unknown time'}, {by}"


def refusal(markers: Mapping[str, str], allowed: str) -> str:
    """Return the sentences that a run is refused with while hosts are in maintenance; empty where it may go on.

    markers holds by host what its file says, nothing where there is none; allowed is the host that the run is about.
    """
    return " ".join(
        f"Host {host} is in maintenance {described(text)}, and its services are stopped: bring it back first with"
        f" playbooks/maintenance.yml -e host={host} -e state=end. Nothing was touched."
        for host, text in markers.items()
        if text.strip() and host != allowed
    )
