#!/usr/bin/python
# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# The work is done by the action plugin of the same name, and on the host by deploy_lock_host.

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Keep two runs from deploying at the same time, and write down who deploys what
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - The lock is one key in the platform's etcd, so there is one for the whole platform, whatever C(--limit) is, and the
    loss of a server does not lose it. Its value says who holds it, from which controller, with what, since when.
  - A lock is stale when its process has ended, where that was on this very controller; one of another controller when
    it is older than O(timeout). A stale lock is taken over, which is told.
  - A run is refused, in one sentence, when another one holds a lock that is not stale.
  - When etcd cannot be asked the run goes on without a lock, as it may be the one that repairs etcd.
  - The host's history gets a line when the run starts, when it takes over a lock, and when it has succeeded. That does
    not count as a change.
extends_documentation_fragment:
  - neural.platform.service_tls
attributes:
  action:
    support: full
    description:
      - Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - In check mode nothing is taken or written, and no host is asked; only a host in maintenance refuses the run.
  diff_mode:
    support: none
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
options:
  state:
    description:
      - V(present) takes the lock, through one host of the run.
      - V(absent) releases it, through the host that took it or else the first one, and writes every host's history.
    type: str
    choices: [present, absent]
    default: present
  playbook:
    description: Name of the playbook that takes the lock, and that is to release it; required with O(state=present).
    type: str
  lock:
    description: What this module returned with O(state=present); required with O(state=absent).
    type: dict
  maintenance:
    description:
      - What the file of a host in maintenance says, by host; empty for a host that is not in maintenance.
      - With O(state=present) the run is refused while there is such a host.
    type: dict
    default: {}
  maintenance_of:
    description: The host that the run may find in maintenance, as it is the one that the run is about.
    type: str
    default: ""
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
  timeout:
    description: Seconds after which the lock of another controller is stale.
    type: int
    default: 7200
  force:
    description: Take the lock over, whoever holds it.
    type: bool
    default: false
  history_file:
    description: File on the host with the history, a line of JSON for every event.
    type: path
    default: /var/lib/neural/deploy/history.jsonl
  history_lines:
    description: How many events the history keeps, 1 or more.
    type: int
    default: 1000
  from:
    description: Version that the run begins with. By default what the last run that succeeded left on the host.
    type: str
    default: ""
  to:
    description: Version that the run ends with. By default the version of this collection.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Take the deploy lock through the first host that can
  neural.platform.deploy_lock:
    playbook: site
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    key: /neural/neural/deploy-lock
  delegate_to: "{{ item }}"
  loop: "{{ ansible_play_hosts }}"
  loop_control:
    break_when: __deploy_lock.decided | default(true)
  run_once: true
  register: __deploy_lock

- name: Release it, and write down on every host that the run has succeeded
  neural.platform.deploy_lock:
    state: absent
    members: {app1: 192.0.2.11, app3: 192.0.2.13, cache1: 192.0.2.31}
    key: /neural/neural/deploy-lock
    lock: "{{ __deploy_lock.results | last }}"
"""

RETURN = r"""
decided:
  description: Whether asking through another host would be of no use.
  type: bool
  returned: success and O(state=present)
held:
  description: Whether this run holds the lock.
  type: bool
  returned: success
playbook:
  description: The playbook that is to release the lock, one of the same process; empty after it did.
  type: str
  returned: success
holder:
  description: This run, as the lock's value tells of it.
  type: dict
  returned: success and O(state=present)
  sample:
    who: alice
    controller: admin1
    controller_boot_id: 5d0e4a1e-8ad3-4a4c-8c6b-6d7a3a0f2b11
    controller_pid_namespace: pid:[4026531836]
    pid: 4711
    pid_started: "123456"
    playbook: site
    what: site.yml --limit app2
    since: "2026-01-31T12:00:00Z"
    run: 1b671a64-40d5-491e-99b0-da01ff1f3341
replaced:
  description: Who held the lock that was taken over; empty where none was.
  type: dict
  returned: success and O(state=present)
revision:
  description: Modification revision of the lock in etcd; V(0) where it is not held.
  type: int
  returned: success and O(state=present)
host:
  description: The host through which etcd was asked.
  type: str
  returned: success and O(state=present)
message:
  description: A sentence for the person at the controller; empty when all is as usual.
  type: str
  returned: success
  sample: "No deploy lock is taken, as no member of etcd answers (app1: Connection refused)."
"""
