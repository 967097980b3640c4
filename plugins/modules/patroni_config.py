#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_config
short_description: Change the dynamic configuration of a Patroni cluster
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Compares the configuration that the cluster keeps in etcd to the wanted one, and patches what differs.
  - A member's file only seeds that configuration when the cluster is made; later changes go this way.
  - Any member that answers is asked; one run a cluster is enough.
extends_documentation_fragment:
  - neural.platform.cluster_info
  - neural.platform.service_tls
options:
  members:
    description: Address by name of the cluster's members.
    type: dict
    required: true
  port:
    description: Port of the REST API.
    type: int
    default: 8008
  config:
    description: What is wanted. Keys that are not named stay as they are; null removes one.
    type: dict
    required: true
  exact:
    description: Dotted paths of mappings that lose the keys that are not wanted, such as V(postgresql.parameters).
    type: list
    elements: str
    default: []
  wait_timeout:
    description: How long to try, in seconds, until a member answers.
    default: 10
attributes:
  check_mode:
    details:
      - In check mode nothing is patched.
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Set how long a leader may be silent
  neural.platform.patroni_config:
    members: {db1: 192.0.2.21, app2: 192.0.2.12, app3: 192.0.2.13}
    config: {ttl: 20, loop_wait: 5, retry_timeout: 5}
"""

RETURN = r"""
patch:
  description: What differed, with its wanted values; null for what is removed.
  type: dict
  returned: success
  sample: {ttl: 20}
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import (
    TLS_ARGUMENTS,
    client_tls,
)
from ansible_collections.neural.platform.plugins.module_utils.patroni import (
    Endpoints,
    PatroniError,
    config_patch,
    patched,
    request,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 8008},
            "config": {"type": "dict", "required": True},
            "exact": {"type": "list", "elements": "str", "default": []},
            **TLS_ARGUMENTS,
            "wait_timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        tls = client_tls(params["ca_file"], params["cert_file"], params["key_file"])
    except OSError as error:
        module.fail_json(msg=f"The files for TLS cannot be read: {error}")
    endpoints = Endpoints(params["members"], params["port"], tls, params["request_timeout"])
    deadline = time.monotonic() + params["wait_timeout"]
    while True:
        complaints = []
        for name in endpoints.members:
            try:
                status, text = request(endpoints, name, "/config")
                if status != 200:
                    raise PatroniError(f"it answers {status} to GET /config")
                found = json.loads(text)
                patch = config_patch(found, params["config"], params["exact"])
                if patch and not module.check_mode:
                    status, text = request(endpoints, name, "/config", patch, "PATCH")
                    if status != 200:
                        raise PatroniError(f"it answers {status} to PATCH /config: {text}")
            except (PatroniError, ValueError) as error:
                complaints.append(f"{name} ({endpoints.members[name]}:{endpoints.port}): {error}")
                continue
            module.exit_json(
                changed=bool(patch),
                patch=patch,
                diff={
                    "before": json.dumps(found, indent=2, sort_keys=True) + "\n",
                    "after": json.dumps(patched(found, patch), indent=2, sort_keys=True) + "\n",
                    "before_header": "dynamic configuration",
                    "after_header": "dynamic configuration",
                },
            )
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"No member lets its dynamic configuration be read and changed: {'; '.join(complaints)}."
            )
        time.sleep(0.5)


if __name__ == "__main__":
    main()
