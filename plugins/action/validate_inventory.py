# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Action that hands the whole inventory, as plain data, to the rules of module_utils/inventory_rules.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.neural.platform.plugins.module_utils import inventory_rules

ROLES = Path(__file__).resolve().parents[2] / "roles"


def plain(value: Any) -> Any:
    """Return a value without anything of Ansible in it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate the inventory."""
        super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec={"foreign_variables": {"type": "list", "elements": "str", "default": []}}
        )
        inventory = self._inventory(task_vars or {}, plain(arguments["foreign_variables"]))
        problems = inventory_rules.check(inventory)
        if problems:
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            lines = [f"The inventory has {count}; no host has been touched.", *(f"- {line}" for line in problems)]
            return {"failed": True, "changed": False, "msg": "\n".join(lines)}
        ports = {host: inventory_rules.host_ports(inventory, host) for host in inventory.hosts}
        peers = [inventory_rules.peer(inventory, host) for host in inventory.hosts]
        return {"changed": False, "hosts": inventory.hosts, "ports": ports, "peers": peers}

    def _load(self, path: Path) -> dict[str, Any]:
        if not path.is_file():
            return {}
        return self._loader.load_from_file(str(path), cache="none", trusted_as_template=True) or {}

    def _inventory(self, task_vars: dict[str, Any], foreign: list[str]) -> inventory_rules.Inventory:
        """Work out all that the rules ask for."""
        groups = {str(group): [str(host) for host in hosts] for group, hosts in task_vars["groups"].items()}
        ours = ("neural", *inventory_rules.SERVICES)
        hosts = [host for host in groups["all"] if any(host in groups.get(group, ()) for group in ours)]

        specs: dict[str, dict[str, Any]] = {}
        defaults: dict[str, dict[str, Any]] = {}
        private: dict[str, dict[str, Any]] = {}
        for folder in sorted(path for path in ROLES.iterdir() if path.is_dir()):
            points = self._load(folder / "meta" / "argument_specs.yml").get("argument_specs", {})
            specs[folder.name] = {
                name: spec for point in points.values() for name, spec in (point.get("options") or {}).items()
            }
            defaults[folder.name] = self._load(folder / "defaults" / "main.yml")
            private[folder.name] = self._load(folder / "vars" / "main.yml")

        prefixes = tuple(f"{name}_" for name in (*specs, *ours))
        inventory = inventory_rules.Inventory(groups=groups, values={}, specs=plain(specs), foreign=foreign)
        for host in hosts:
            raw = task_vars["hostvars"].raw_get(host)
            roles = [role for role in specs if role not in inventory_rules.SERVICES or host in groups.get(role, ())]
            variables: dict[str, Any] = {}
            for role in roles:
                variables.update(defaults[role])
            variables.update(raw)
            for role in roles:
                variables.update(private[role])
            variables["hostvars"] = task_vars["hostvars"]
            wanted = {name for role in roles for name in specs[role]} | {
                *inventory_rules.SECRETS,
                *inventory_rules.OTHER_VALUES,
                "ansible_port",
                "ansible_host",
            }
            inventory.given[host] = [str(name) for name in raw if str(name).startswith(prefixes)]
            inventory.values[host], inventory.errors[host] = self._values(variables, wanted)
        return inventory

    def _values(self, variables: dict[str, Any], wanted: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the values that can be worked out, and why the others cannot."""
        templar = self._templar.copy_with_new_env(available_variables=variables)
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for name in sorted(wanted & variables.keys()):
            try:
                values[name] = plain(templar.template(variables[name]))
            except AnsibleError as error:
                errors[name] = " ".join(str(error).split())
        return values, errors
