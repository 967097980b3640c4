"""Documentation of how a module shows the host's certificate."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of mutual TLS; the arguments are TLS_ARGUMENTS of module_utils/cluster_info.py."""

    DOCUMENTATION = r"""
options:
  ca_file:
    description: Path on the target of the certificate authority that the servers' certificates are verified with.
    type: path
    default: /etc/neural/pki/ca.crt
  cert_file:
    description: Path on the target of the client certificate.
    type: path
    default: /etc/neural/pki/host.crt
  key_file:
    description: Path on the target of the client certificate's private key.
    type: path
    default: /etc/neural/pki/host.key
  request_timeout:
    description: How long one request may take, in seconds.
    type: float
    default: 3
"""
