#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock_host
short_description: The part of the deploy lock that runs on a host
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Takes or releases the lock in etcd, and adds to the host's history of deployments, in one call.
  - It is run by M(neural.platform.deploy_lock), which knows who runs the playbook and whether a lock is stale.
  - An etcd that cannot be asked, and a history that cannot be written, are reported and are no failure, as a run that
    repairs them must be possible.
extends_documentation_fragment:
  - neural.platform.service_tls
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
options:
  state:
    description:
      - V(present) takes the lock and writes down that the run has started.
      - V(absent) releases the lock and writes down that the run has succeeded.
    type: str
    choices: [present, absent]
    default: present
  members:
    description: Address by name of the members of etcd, which are asked one after the other until one answers.
    type: dict
    required: true
  port:
    description: Port on which members answer clients.
    type: int
    default: 2379
  key:
    description: The lock's key in etcd.
    type: str
    required: true
  holder:
    description: Who runs the playbook; the lock's value.
    type: dict
    required: true
  revision:
    description:
      - Modification revision of the lock that is taken over with O(state=present) or released with O(state=absent).
      - With V(0) there must be no lock to take it, and etcd is not asked to release one.
    type: int
    default: 0
  replaced:
    description: The holder of the stale lock that this run has taken over; empty for none.
    type: dict
    default: {}
  history_file:
    description: File on the host with the history, a line of JSON for every event.
    type: path
    required: true
  history_lines:
    description: How many events the history keeps, 1 or more.
    type: int
    default: 1000
  from:
    description: Version that the run begins with. By default what the last run that succeeded left on the host.
    type: str
    default: ""
  to:
    description: Version that the run ends with.
    type: str
    default: ""
  failed_hosts:
    description: Hosts of the run that have failed or were not reached.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Take the lock
  neural.platform.deploy_lock_host:
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    key: /neural/neural/deploy-lock
    holder: {who: alice, controller: admin1, playbook: site, what: site.yml, since: "2026-01-31T12:00:00Z", run: 6f1c}
    history_file: /var/lib/neural/deploy/history.jsonl
"""

RETURN = r"""
outcome:
  description:
    - V(taken) or V(released) by this run, V(held) by another one, V(skipped) where there was nothing to do,
      V(no_certificate) where this host cannot show itself to etcd, V(no_answer) where etcd cannot be asked.
  type: str
  returned: always
  sample: taken
revision:
  description: Modification revision of the lock that is there now; V(0) for none, or for one that is not known.
  type: int
  returned: always
holder:
  description: Who holds that lock.
  type: dict
  returned: always
problem:
  description: Why etcd could not be asked; else empty.
  type: str
  returned: always
history_problem:
  description: Why the history could not be written; else empty.
  type: str
  returned: always
"""

import datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import TLS_ARGUMENTS, client_tls
from ansible_collections.neural.platform.plugins.module_utils.deploy_history import STARTED, SUCCEEDED, write_events
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import (
    UTC_FORMAT,
    Holder,
    release_lock,
    take_lock,
)
from ansible_collections.neural.platform.plugins.module_utils.etcd import Endpoints, EtcdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 2379},
            "key": {"type": "str", "required": True, "no_log": False},
            "holder": {"type": "dict", "required": True},
            "revision": {"type": "int", "default": 0},
            "replaced": {"type": "dict", "default": {}},
            "history_file": {"type": "path", "required": True},
            "history_lines": {"type": "int", "default": 1000},
            "from": {"type": "str", "default": ""},
            "to": {"type": "str", "default": ""},
            "failed_hosts": {"type": "list", "elements": "str", "default": []},
            **TLS_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["history_lines"] < 1:
        module.fail_json(msg=f"history_lines: found {params['history_lines']}, expected is 1 or more.")
    found = {"outcome": "skipped", "revision": 0, "holder": {}, "problem": "", "history_problem": ""}
    if module.check_mode:
        module.exit_json(changed=False, **found)
    found.update(ask_etcd(params))
    if found["outcome"] != "held" or params["state"] == "absent":
        found["history_problem"] = write_history(params)
    module.exit_json(changed=False, **found)


def ask_etcd(params: dict[str, Any]) -> dict[str, Any]:
    """Take or release the lock and return what came of it."""
    holder, key, revision = Holder.from_dict(params["holder"]), params["key"], params["revision"]
    if params["state"] == "absent" and not revision:
        return {}
    if not params["members"]:
        return {"outcome": "no_answer", "problem": "the inventory has no host of the group etcd"}
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
    except OSError:
        return {"outcome": "no_certificate", "problem": f"there is no certificate yet in {params['cert_file']}"}
    endpoints = Endpoints(params["members"], params["port"], 0, tls, params["request_timeout"])
    try:
        if params["state"] == "present":
            lock = take_lock(endpoints, key, holder, revision)
            outcome = "taken" if lock.holder.run == holder.run else "held"
        else:
            lock = release_lock(endpoints, key, revision)
            outcome = "held" if lock else "released"
    except EtcdError as error:
        return {"outcome": "no_answer", "problem": f"no member of etcd answers ({error})"}
    if not lock:
        return {"outcome": outcome}
    return {"outcome": outcome, "revision": lock.revision, "holder": lock.holder.to_dict()}


def write_history(params: dict[str, Any]) -> str:
    """Add this run's events to the host's history; return why that was not possible, else nothing."""
    try:
        write_events(
            params["history_file"],
            params["history_lines"],
            result=STARTED if params["state"] == "present" else SUCCEEDED,
            at=datetime.datetime.now(datetime.UTC).strftime(UTC_FORMAT),
            holder=params["holder"],
            replaced=params["replaced"],
            origin=params["from"],
            target=params["to"],
            failed_hosts=params["failed_hosts"],
        )
    except OSError as error:
        return f"{params['history_file']} cannot be written: {error.strerror or error}"
    return ""


if __name__ == "__main__":
    main()
