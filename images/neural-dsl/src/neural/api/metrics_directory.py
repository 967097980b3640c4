"""Where all processes of a container keep what they count: prometheus_client reads it when it is imported."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare() -> Path:
    """Make the directory, and tell prometheus_client about it."""
    directory = Path(os.environ.setdefault(VARIABLE, str(Path(tempfile.gettempdir()) / "neural-metrics")))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def clear() -> None:
    """Forget what earlier processes counted; for the parent, before anything is counted."""
    shutil.rmtree(prepare(), ignore_errors=True)
    prepare()
