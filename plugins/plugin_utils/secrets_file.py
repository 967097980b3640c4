# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The file of an inventory's secrets: other values in a YAML text that else stays as it is; the API's keys."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml


class SecretsFileError(Exception):
    """The file cannot be edited; the message says why and shows no value."""


class _Loader(yaml.SafeLoader):
    """Takes what has a tag of Ansible's (!vault) as it stands."""


_Loader.add_multi_constructor("!", lambda _loader, suffix, node: (suffix, node.value))


def values(text: str) -> dict[str, Any]:
    """Return what a file of secrets holds. Raises SecretsFileError."""
    try:
        found = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" (line {place.line + 1})" if place else ""
        # Without the parser's words: they show the line.
        raise SecretsFileError(f"it is not YAML{where}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SecretsFileError("it does not hold names and values")
    return found


def _written(name: str, value: Any) -> list[str]:
    """Return a name and its value, a text or a list of texts, as lines of YAML."""
    if isinstance(value, str) and "\n" in value.strip():
        return [f"{name}: |", *(f"  {line}" for line in value.strip().split("\n"))]
    if isinstance(value, str):
        return [f"{name}: {json.dumps(value)}"]
    return [f"{name}:", *(f"  - {json.dumps(item)}" for item in value)]


def _block(lines: Sequence[str], name: str) -> range | None:
    """Return which lines are a name's and its value's. Raises SecretsFileError if it is there twice."""
    begins = re.compile(rf"(?:{re.escape(name)}|\"{re.escape(name)}\"|'{re.escape(name)}')[ \t]*:(?:[ \t]|$)")
    starts = [number for number, line in enumerate(lines) if begins.match(line)]
    if not starts:
        return None
    if len(starts) > 1:
        raise SecretsFileError(f"{name} is there twice")
    end = starts[0] + 1
    for number in range(end, len(lines)):
        line = lines[number]
        # A list may stand without an indent. Empty lines belong to the value if more of it follows.
        if line.startswith((" ", "\t", "- ")) or line == "-":
            end = number + 1
        elif line.strip():
            break
    return range(starts[0], end)


def _replaced(lines: list[str], name: str, value: Any) -> Iterator[str]:
    block = _block(lines, name)
    new = [] if value is None else _written(name, value)
    if block is None:
        yield from lines
        yield from new
    else:
        yield from lines[: block.start]
        yield from new
        yield from lines[block.stop :]


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """Return the text with other values: None removes a name, one that is new comes last, the rest stays as it is.

    Raises SecretsFileError.
    """
    before = values(text)
    lines = text.rstrip().split("\n") if text.strip() else ["---"]
    for name, value in changes.items():
        lines = list(_replaced(lines, name, value))
    made = "\n".join(lines) + "\n"
    # A value that ends with a line break loses it, or one gets it: no secret is told from another by that.
    wanted = {**before, **changes}
    found = values(made)
    if _stripped(found) != _stripped({name: value for name, value in wanted.items() if value is not None}):
        raise SecretsFileError("it is written in a way that cannot be edited: expected is a line for each name")
    return made


def _stripped(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.strip() if isinstance(value, str) else value for name, value in found.items()}


# --- the API's keys ----------------------------------------------------------------------------------------------


def owner_of(entry: str) -> str:
    """Return the owner of a key: its name, or what the application knows a key without a name by."""
    name, separator, _key = entry.rpartition(":")
    return name if separator else hashlib.sha256(entry.encode()).hexdigest()[:16]


def rotated_keys(keys: Sequence[str], new: str, owner: str = "", retire: bool = False) -> tuple[list[str], str]:
    """Return the keys with another one for an owner, before the present one, or without its old ones; and a sentence.

    The sentence says what is wrong; then the keys are as they were. An owner that has two keys already is in the middle
    of a rotation: it is given no third.
    """
    owners = list(dict.fromkeys(map(owner_of, keys)))
    if not owner and len(owners) == 1:
        owner = owners[0]
    if owner not in owners:
        found = f"found {owner}" if owner else "found nothing, and there is more than one"
        return list(keys), f"owner: {found}, expected is one of {', '.join(owners)}."
    own = [entry for entry in keys if owner_of(entry) == owner]
    if retire:
        return [entry for entry in keys if entry not in own[1:]], ""
    if len(own) > 1:
        return list(keys), ""
    place = list(keys).index(own[0])
    return [*keys[:place], f"{owner}:{new}", *keys[place:]], ""
