#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_info
short_description: Read which Celery workers answer and how long the queues are, or wait for all of them
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Asks the expected Celery workers, of any host, through the broker, and tells which of them answer.
  - It does so in the container of one worker of the target, as only that has the application and its settings.
options:
  container:
    description: Name of a running container of a worker on the target.
    type: str
    required: true
  workers:
    description: Queues by name of the workers that are expected. With V({}) all workers are asked.
    type: dict
    required: true
  max_queue_length:
    description: A queue in which more tasks wait than this is a problem. Any number may wait if this is not given.
    type: int
  request_timeout:
    description: How long the workers have to answer, in seconds; asking ends as soon as all expected ones have.
    type: float
    default: 3
  wait_timeout:
    description:
      - How long to wait, in seconds, until all is healthy; waiting ends as soon as it is.
      - With V(0) the state is read once and returned, whatever it is.
      - When the time is over and not all is healthy, the module fails and says what it saw.
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
    description: >-
      Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
"""

EXAMPLES = r"""
- name: Wait until every worker answers
  neural.platform.celery_info:
    container: neural-worker-general-1
    workers:
      compilation-1@app1: [compilation]
      general-1@app1: [general]
    wait_timeout: 60
"""

RETURN = r"""
healthy:
  description: Whether there is no problem.
  type: bool
  returned: always
problems:
  description: What is wrong, each as a sentence.
  type: list
  elements: str
  returned: always
  sample: ["The worker compilation-1@app2 does not answer (expected one on compilation)."]
members:
  description: The expected workers; those that answered where none are expected.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Celery's name of the worker.
      type: str
    pool:
      description: Pool that it belongs to.
      type: str
    host:
      description: Host that it runs on.
      type: str
    answers:
      description: Whether it answered.
      type: bool
    queues:
      description: Queues that it takes tasks from.
      type: list
      elements: str
    concurrency:
      description: Tasks that it runs at a time.
      type: int
    tasks:
      description: Tasks that it has taken since its start.
      type: int
    uptime:
      description: Seconds since its start.
      type: int
queues:
  description: Number of waiting tasks by queue; empty when the broker could not be asked.
  type: dict
  returned: always
  sample: {compilation: 0, general: 2}
waited:
  description: Seconds spent waiting.
  type: float
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.neural.platform.plugins.module_utils.celery import PROGRAM, Expected, command, evaluate
from ansible_collections.neural.platform.plugins.module_utils.cluster_info import ClusterState, wait_until


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "workers": {"type": "dict", "required": True},
            "max_queue_length": {"type": "int"},
            "request_timeout": {"type": "float", "default": 3},
            "wait_timeout": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    expected = Expected(params["workers"], params["max_queue_length"])
    arguments = command(module.get_bin_path("docker", True), params["container"], expected, params["request_timeout"])

    def probe() -> ClusterState:
        returncode, stdout, stderr = module.run_command(arguments, data=PROGRAM)
        return evaluate(expected, returncode, stdout, stderr, params["container"])

    state, reached, waited = wait_until(probe, lambda found: found.healthy, params["wait_timeout"])
    result = {"changed": False, "waited": waited, **state.result()}
    if params["wait_timeout"] and not reached:
        module.fail_json(msg=f"Celery is not healthy after {waited} s: {' '.join(state.problems)}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
