"""Log lines as JSON on standard output, with every password in a URL masked."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import sys
import time

from neural.api.settings import masked

QUIET_PATHS = ("/health", "/ready", "/metrics")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class _Probes(logging.Filter):
    """Leave out successful answers to probes, which come every second."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args
        if isinstance(arguments, tuple) and len(arguments) == 5:
            path, status = str(arguments[2]), arguments[4]
            return not (path.split("?", maxsplit=1)[0] in QUIET_PATHS and status == 200)
        return True


class _Chatter(logging.Filter):
    """Leave out what the published package tells about itself; what is worth knowing is in each job's result."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith(("neural.parser", "parser.", "neural.code_generation"))


def configure(level: str | int | None = None) -> None:
    """Send every log of this process to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_Chatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level or os.environ.get("LOG_LEVEL", "INFO").upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    access = logging.getLogger("uvicorn.access")
    access.filters[:] = [_Probes()]
    for name in ("botocore", "boto3", "urllib3", "werkzeug"):
        logging.getLogger(name).setLevel(logging.WARNING)
