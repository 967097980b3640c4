# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter that names the version of an image."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.neural.platform.plugins.plugin_utils import images

DOCUMENTATION = r"""
name: image_tag
short_description: Tell the tag of one of the collection's images
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - The tag is a hash of the files in the image's folder and in that of the base image, so it changes when the image
    has to be built again, and only then.
  - Paths, contents and the right to execute count. Hidden files, folders named C(tests), and what Python compiles do
    not.
options:
  _input:
    description: Name of a folder of C(images/).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what an image is called
  ansible.builtin.debug:
    msg: "{{ neural_registry }}/neural/etcd:{{ 'etcd' | neural.platform.image_tag }}"
"""

RETURN = r"""
_value:
  description: Twelve hexadecimal digits.
  type: str
"""


def image_tag(name: str) -> str:
    """Return the tag of an image."""
    try:
        return images.image_tag(str(name))
    except images.NoSuchImageError as error:
        raise AnsibleFilterError(f"image_tag: {error}") from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"image_tag": image_tag}
