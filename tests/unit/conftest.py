"""Makes ansible_collections.neural.platform importable from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = Path(__file__).parents[2] / "collections"
if COLLECTIONS.is_dir():
    sys.path.insert(0, str(COLLECTIONS))
