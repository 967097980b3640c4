"""Documentation that the *_info modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Options and attributes of the *_info modules."""

    DOCUMENTATION = r"""
options:
  wait_timeout:
    description:
      - How long to wait, in seconds, until the wanted state is reached; waiting ends as soon as it is.
      - With V(0) the state is read once and returned, whatever it is.
      - When the time is over and the state is not reached, the module fails and says what it saw.
    type: float
    default: 0
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - This action does not modify state.
  diff_mode:
    support: none
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""
