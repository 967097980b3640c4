"""Checks that what the roles say in several places is the same.

Every role has its rooms; the options of its argument_specs are its defaults, with the same values; every neural_*
variable that is used is defined.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
from ansible_collections.neural.platform.plugins.module_utils.inventory_rules import OTHER_VALUES, SECRETS, SERVICES

ROOMS = ("defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml")
# these are settings, and tasks that other roles or playbooks include
WITHOUT_MAIN = ("common", "deploy", "neural_app")
# roles whose entry point has a name of its own (see their argument_specs)
ENTRY_POINTS = {"common": "settings", "deploy": "settings"}


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def roles() -> Iterator[str]:
    for role in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        name = role.name
        yield from (f"roles/{name} has no {room}" for room in ROOMS if not (role / room).is_file())
        if name not in WITHOUT_MAIN and not (role / "tasks/main.yml").is_file():
            yield f"roles/{name} has no tasks/main.yml"
        defaults = load(role / "defaults/main.yml")
        prefix = "neural_" if name == "common" else f"{name}_"
        for key in [*defaults, *load(role / "vars/main.yml")]:
            if not key.lstrip("_").startswith(prefix):
                yield f"{key} of {name} should begin with {prefix}"
        points = load(role / "meta/argument_specs.yml").get("argument_specs", {})
        options = points.get(ENTRY_POINTS.get(name, "main"), {}).get("options", {})
        yield from (
            f"{key} is in the defaults of {name} and not in its argument_specs"
            for key in defaults
            if key not in options
        )
        yield from (
            f"{key} is in the argument_specs of {name} and not in its defaults"
            for key in options
            if key not in defaults
        )
        for key in defaults.keys() & options.keys():
            if "default" in options[key] and options[key]["default"] != defaults[key]:
                yield f"{key} of {name} is {defaults[key]!r} by default, {options[key]['default']!r} in argument_specs"
            if not options[key].get("description"):
                yield f"{key} of {name} has no description"


def unknown_variables() -> Iterator[str]:
    known = {key for path in ROOT.glob("roles/*/defaults/main.yml") for key in load(path)} | {
        *SECRETS,
        *OTHER_VALUES,
        *SERVICES,
    }
    known |= {path.name for path in (ROOT / "roles").iterdir()} | {"neural_roll"}
    files = [*ROOT.glob("roles/*/*/*"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("inventories/five_servers/**/*.yml")]
    for path in (path for path in files if path.suffix in (".yml", ".j2")):
        used = set(re.findall(r"(?<![\w./$-])neural_[a-z0-9_]+(?![\w-]*\.(?:yml|j2))", path.read_text()))
        for name in sorted(used - known):
            if not name.startswith("neural_roll_"):
                yield f"{path.relative_to(ROOT)} uses {name}, which no role defines"


if __name__ == "__main__":
    problems = [*roles(), *unknown_variables()]
    print("\n".join(problems) or "argument_specs and defaults agree")
    sys.exit(bool(problems))
