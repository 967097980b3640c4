"""HTTP API, Celery application and dashboard launcher of the Neural DSL service.

This package lives inside the published ``neural`` package, which lacks it.
"""

from __future__ import annotations

__version__ = "1.0.0"
