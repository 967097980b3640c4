# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Lookup that encrypts a text with the vault password that Ansible was started with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: encrypted
short_description: Encrypt a text as ansible-vault does
version_added: 0.1.0
author: The neural.platform maintainers (@neural-platform)
description:
  - Encrypts a text with the vault password that Ansible was started with, or with that of a password file.
  - Unlike the filter P(ansible.builtin.vault#filter), no variable has to hold the password.
options:
  _terms:
    description: The texts.
    type: list
    elements: str
    required: true
  password_file:
    description:
      - A file that holds the vault password, or a program that prints it; its password is preferred.
      - Empty for none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Keep a text where only the vault's owner can read it
  ansible.builtin.copy:
    content: "{{ lookup('neural.platform.encrypted', text) }}"
    dest: secrets.yml
    mode: "0600"
"""

RETURN = r"""
_raw:
  description: The encrypted texts; empty where there is no vault password.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.parsing.vault import VaultLib, VaultSecret, get_file_vault_secret, match_encrypt_secret
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the encrypted texts."""
        self.set_options(var_options=variables, direct=kwargs)
        secrets: list[tuple[str, VaultSecret]] = list(self._loader._vault.secrets or [])
        if password_file := self.get_option("password_file"):
            secret = get_file_vault_secret(filename=password_file, loader=self._loader)
            secret.load()
            secrets.insert(0, ("default", secret))
        if not secrets:
            return []
        chosen = match_encrypt_secret(secrets)
        if chosen is None:
            raise AnsibleLookupError("Ansible has vault passwords, but none that can encrypt.")
        vault = VaultLib(secrets)
        return [vault.encrypt(term, secret=chosen[1]).decode() for term in terms]
