"""Makes the package `resilience` importable where pytest's `pythonpath` does not count (ansible-test)."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = str(Path(__file__).parents[2])
if TESTS not in sys.path:
    sys.path.append(TESTS)
