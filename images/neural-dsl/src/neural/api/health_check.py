"""Health check of the API's or the dashboard's container: ``python -m neural.api.health_check [dashboard]``.

Standard library only, as it runs often.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address

TIMEOUT = 5


def address(environment: Mapping[str, str], service: str) -> str:
    """Where to ask."""
    scheme = "https" if environment.get("API_SSL_CERT_FILE") else "http"
    if service == "dashboard":
        path = environment.get("DASH_URL_BASE_PATHNAME", "/")
        return f"{scheme}://127.0.0.1:{environment.get('DASHBOARD_PORT', '8050')}{path}_dash-layout"
    host = environment.get("API_HOST", "")
    host = "127.0.0.1" if not host or ip_address(host).is_unspecified else host
    return f"{scheme}://{host}:{environment.get('API_PORT', '8000')}/health"


def context(environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """TLS, verified with the platform's own authority."""
    if not environment.get("API_SSL_CERT_FILE"):
        return None
    made = ssl.create_default_context(cafile=environment.get("API_SSL_CA_FILE") or None)
    if environment.get("API_SSL_CLIENT_CA_FILE"):
        made.load_cert_chain(environment["API_SSL_CERT_FILE"], environment["API_SSL_KEY_FILE"])
    return made


def main(arguments: list[str]) -> int:
    """Print the finding; 0 if healthy."""
    url = address(os.environ, arguments[0] if arguments else "api")
    try:
        # No proxy: this is the container itself.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context(os.environ))
        )
        with opener.open(url, timeout=TIMEOUT) as answer:
            sys.stdout.write(f"{answer.status}\n")
            return 0 if answer.status == 200 else 1
    except (OSError, ValueError, urllib.error.URLError) as error:
        sys.stdout.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
