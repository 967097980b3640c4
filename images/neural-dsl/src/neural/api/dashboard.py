"""Serve the package's own dashboard: ``python -m neural.api.dashboard``.

It is ``neural.dashboard.dashboard`` as published, imported behind the import guard. Dash itself reads
DASH_URL_BASE_PATHNAME. The second server that the package starts on port 5001 of the loopback interface is not started:
nothing outside the container could reach it, and Socket.IO answers on the dashboard's own port anyway.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from neural.api import guard, logs
from neural.api.settings import SettingsError, settings

GRACE = 10


def application() -> Any:
    """The dashboard as a WSGI application."""
    os.environ.setdefault("PYSNOOPER_DISABLED", "1")
    os.environ.setdefault("DASH_URL_BASE_PATHNAME", settings().dash_url_base_pathname)
    guard.install()
    import flask_socketio

    flask_socketio.SocketIO.run = lambda *_args, **_kwargs: None
    from neural.dashboard import dashboard

    # The module makes two Dash applications; its layout, and so its page, is the second one's.
    return dashboard.app.server


def main() -> int:
    """Run until told to stop."""
    try:
        config = settings().require("dashboard")
    except SettingsError as error:
        sys.stderr.write(f"neural.api.dashboard: {error}\n")
        return 1
    logs.configure()
    import uvicorn
    from a2wsgi import WSGIMiddleware

    from neural.api.__main__ import tls_arguments

    uvicorn.run(
        WSGIMiddleware(application(), workers=8),
        host=config.dashboard_host,
        port=config.dashboard_port,
        log_config=None,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=config.forwarded_allow_ips,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE,
        lifespan="off",
        **tls_arguments(config),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
