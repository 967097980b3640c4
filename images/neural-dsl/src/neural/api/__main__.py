"""Serve the API: ``python -m neural.api``."""

from __future__ import annotations

import ssl
import sys
from typing import Any

from neural.api import logs
from neural.api.settings import Settings, SettingsError, settings

GRACE = 25


def tls_arguments(config: Settings) -> dict[str, Any]:
    """Uvicorn's arguments for HTTPS, where a certificate is set."""
    if not config.api_ssl_cert_file:
        return {}
    arguments: dict[str, Any] = {"ssl_certfile": config.api_ssl_cert_file, "ssl_keyfile": config.api_ssl_key_file}
    if config.api_ssl_client_ca_file:
        arguments |= {"ssl_ca_certs": config.api_ssl_client_ca_file, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return arguments


def main() -> int:
    """Run until told to stop."""
    try:
        config = settings().require("api")
    except SettingsError as error:
        sys.stderr.write(f"neural.api: {error}\n")
        return 1
    logs.configure()
    import uvicorn

    from neural.api import metrics_directory

    metrics_directory.clear()
    uvicorn.run(
        "neural.api.main:app",
        host=config.api_host,
        port=config.api_port,
        workers=config.api_workers,
        log_config=None,
        access_log=True,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=config.forwarded_allow_ips,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE,
        **tls_arguments(config),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
