# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Action that takes and releases the deploy lock: the controller knows who asks and which processes live."""

from __future__ import annotations

from typing import Any

from ansible import context
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import TLS_ARGUMENTS
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import (
    Holder,
    refusal,
    takeover,
    takeover_reason,
)
from ansible_collections.neural.platform.plugins.module_utils.maintenance import refusal as maintenance_refusal
from ansible_collections.neural.platform.plugins.plugin_utils import deploy

ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "playbook": {"type": "str"},
    "lock": {"type": "dict"},
    "maintenance": {"type": "dict", "default": {}},
    "maintenance_of": {"type": "str", "default": ""},
    "members": {"type": "dict", "required": True},
    "port": {"type": "int", "default": 2379},
    "key": {"type": "str", "required": True, "no_log": False},
    "timeout": {"type": "int", "default": 7200},
    "force": {"type": "bool", "default": False},
    "history_file": {"type": "path", "default": "/var/lib/neural/deploy/history.jsonl"},
    "history_lines": {"type": "int", "default": 1000},
    "from": {"type": "str", "default": ""},
    "to": {"type": "str", "default": ""},
    **TLS_ARGUMENTS,
}
# Those that are not for the host's part.
OF_THE_CONTROLLER = ("playbook", "lock", "maintenance", "maintenance_of", "timeout", "force")
# What AWX, and Automation Platform before it had that name, say of who started a job.
USER_VARIABLES = ("awx_user_name", "tower_user_name")


class ActionModule(ActionBase):
    """Ansible's entry point."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    # One for all hosts that the task's loop tries, which a worker does one after the other: they are one run.
    _me: Holder | None = None

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take or release the lock."""
        super().run(tmp, task_vars)
        _validated, arguments = self.validate_argument_spec(
            argument_spec=ARGUMENTS, required_if=[("state", "present", ["playbook"]), ("state", "absent", ["lock"])]
        )
        variables = task_vars or {}
        if arguments["state"] == "absent":
            return self._release(arguments, variables)
        return self._take(arguments, variables)

    def _take(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        refused = maintenance_refusal(arguments["maintenance"], arguments["maintenance_of"])
        if refused:
            return {"changed": False, "failed": True, "msg": refused}
        if ActionModule._me is None:
            who = next((str(variables[name]) for name in USER_VARIABLES if variables.get(name)), "")
            ActionModule._me = deploy.this_run(who, arguments["playbook"], context.CLIARGS)
        me = ActionModule._me
        result = {
            "changed": False,
            "decided": True,
            "held": False,
            "playbook": arguments["playbook"],
            "holder": me.to_dict(),
            "replaced": {},
            "revision": 0,
            "host": str(self._task.delegate_to or variables["inventory_hostname"]),
            "message": "",
        }
        if self._task.check_mode:
            return result
        try:
            found = self._on_host(arguments, variables, holder=me.to_dict())
            while not found.get("failed") and found["outcome"] == "held":
                holder = Holder.from_dict(found["holder"])
                if holder.same_process(me):
                    return {**result, "playbook": holder.playbook}
                now, timeout = deploy.now(), arguments["timeout"]
                reason = takeover_reason(holder, me, deploy.process_lives, now, timeout, arguments["force"])
                if not reason:
                    return {"changed": False, "failed": True, "msg": refusal(holder, me, now, timeout)}
                result.update(replaced=found["holder"], message=takeover(holder, reason, now))
                details = {"holder": me.to_dict(), "revision": found["revision"], "replaced": found["holder"]}
                found = self._on_host(arguments, variables, **details)
        except AnsibleConnectionFailure:
            found = {"outcome": "unreachable", "problem": "no host of this run can be reached"}
        if found.get("failed"):
            return found
        if found["outcome"] == "taken":
            result.update(held=True, revision=found["revision"])
        else:
            # Another host may be reached, or have a certificate.
            result["decided"] = found["outcome"] not in ("unreachable", "no_certificate")
            result["message"] = f"No deploy lock is taken, as {found['problem']}."
        return self._with_history_problem(result, found, variables)

    def _release(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        result = {"changed": False, "held": False, "playbook": "", "message": ""}
        if self._task.check_mode:
            return result
        lock = {"holder": {}, "replaced": {}, "revision": 0, "host": "", **arguments["lock"]}
        hosts = variables["ansible_play_hosts"]
        # The host that took it is known to reach etcd; it may have failed since then.
        releases = variables["inventory_hostname"] == (lock["host"] if lock["host"] in hosts else hosts[0])
        found = self._on_host(
            arguments,
            variables,
            holder=lock["holder"],
            replaced=lock["replaced"],
            revision=lock["revision"] if releases else 0,
            failed_hosts=[host for host in variables["ansible_play_hosts_all"] if host not in hosts],
        )
        if found.get("failed"):
            return found
        if found["outcome"] == "held":
            holder = Holder.from_dict(found["holder"])
            result["message"] = f"The deploy lock was taken over meanwhile by {holder.described(deploy.now())}."
        elif found["problem"]:
            result["message"] = (
                f"The deploy lock is not released, as {found['problem']}; the next run from here takes it over."
            )
        return self._with_history_problem(result, found, variables)

    def _on_host(self, arguments: dict[str, Any], variables: dict[str, Any], **details: Any) -> dict[str, Any]:
        """Run the host's part."""
        given = {name: value for name, value in arguments.items() if name not in OF_THE_CONTROLLER}
        given.update(details, to=arguments["to"] or deploy.collection_version())
        answer: dict[str, Any] = self._execute_module(
            module_name="neural.platform.deploy_lock_host", module_args=given, task_vars=variables
        )
        return answer

    def _with_history_problem(
        self, result: dict[str, Any], found: dict[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        """Return a result whose message tells, too, that the history could not be written."""
        if found.get("history_problem"):
            host = self._task.delegate_to or variables["inventory_hostname"]
            sentence = f"The history of deployments on {host} lacks this run: {found['history_problem']}."
            result["message"] = f"{result['message']} {sentence}".strip()
        return result
