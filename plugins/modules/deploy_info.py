#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_info
short_description: Read a host's history of deployments, and who holds the deploy lock
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Reads what M(neural.platform.deploy_lock) wrote on the host, and asks etcd for the lock.
extends_documentation_fragment:
  - neural.platform.service_tls
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
options:
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
  history_file:
    description: File on the host with the history, a line of JSON for every event.
    type: path
    default: /var/lib/neural/deploy/history.jsonl
  lines:
    description: How many events to return, the last ones, 1 or more.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Read the history
  neural.platform.deploy_info:
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    key: /neural/neural/deploy-lock
"""

RETURN = r"""
events:
  description: The last events, newest last.
  type: list
  elements: dict
  returned: success
  contains:
    run:
      description: Identifier of the run.
      type: str
    who:
      description: Who ran the playbook.
      type: str
    controller:
      description: Name of the controller.
      type: str
    what:
      description: The playbook and what it was limited to.
      type: str
    since:
      description: When the run started, ISO 8601 in UTC.
      type: str
    at:
      description: When this happened, ISO 8601 in UTC.
      type: str
    from:
      description: Version that the run began with.
      type: str
    to:
      description: Version that the run ends with.
      type: str
    result:
      description: V(started), V(succeeded), or V(taken over) when another run took this one's lock over.
      type: str
    failed_hosts:
      description: Other hosts of the run, which failed or were not reached; only where there are some.
      type: list
      elements: str
lock:
  description: Who holds the lock; empty where nobody does, or where it is not known.
  type: dict
  returned: success
problem:
  description: Why it is not known who holds the lock; else empty.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import TLS_ARGUMENTS, client_tls
from ansible_collections.neural.platform.plugins.module_utils.deploy_history import read_events
from ansible_collections.neural.platform.plugins.module_utils.deploy_lock import read_lock
from ansible_collections.neural.platform.plugins.module_utils.etcd import Endpoints, EtcdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 2379},
            "key": {"type": "str", "required": True, "no_log": False},
            "history_file": {"type": "path", "default": "/var/lib/neural/deploy/history.jsonl"},
            "lines": {"type": "int", "default": 20},
            **TLS_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["lines"] < 1:
        module.fail_json(msg=f"lines: found {params['lines']}, expected is 1 or more.")
    try:
        events = read_events(params["history_file"])[-params["lines"] :]
    except OSError as error:
        module.fail_json(msg=f"{params['history_file']} cannot be read: {error.strerror or error}.")
    lock, problem = {}, ""
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
        found = read_lock(
            Endpoints(params["members"], params["port"], 0, tls, params["request_timeout"]), params["key"]
        )
        lock = found.holder.to_dict() if found else {}
    except EtcdError as error:
        problem = f"no member of etcd answers ({error})" if params["members"] else "there is no etcd"
    except OSError:
        problem = f"there is no certificate yet in {params['cert_file']}"
    module.exit_json(changed=False, events=events, lock=lock, problem=problem)


if __name__ == "__main__":
    main()
