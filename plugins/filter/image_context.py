# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filter that packs what an image is built from."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.neural.platform.plugins.plugin_utils import images

DOCUMENTATION = r"""
name: image_context
short_description: Pack the build context of one of the collection's images
version_added: 0.1.0
author: The neural.platform maintainers
description:
  - Packs exactly the files that P(neural.platform.image_tag#filter) counts.
options:
  _input:
    description: Name of a folder of C(images/).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Unpack a build context
  ansible.builtin.shell: base64 --decode | tar --extract --gzip --directory /some/folder
  args:
    stdin: "{{ 'etcd' | neural.platform.image_context }}"
"""

RETURN = r"""
_value:
  description: A compressed tar archive in Base64.
  type: str
"""


def image_context(name: str) -> str:
    """Return the build context of an image, packed."""
    try:
        return images.image_context(str(name))
    except images.NoSuchImageError as error:
        raise AnsibleFilterError(f"image_context: {error}") from error


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"image_context": image_context}
