"""Keeps a server process small, whatever its connections do.

asyncio gives every TLS connection a buffer of 256 KiB, though a TLS record has 16 KiB at most; and a connection that
breaks off leaves it in a reference cycle. Python looks for old cycles only when a quarter as many objects are new as
are old, and this application has a quarter of a million old ones: measured, 200 KB a broken connection, until the
container's limit ended it.
"""

from __future__ import annotations

import asyncio.sslproto
import gc

TLS_RECORD = 16 * 1024
# Objects, then generations: the oldest is looked at every 20,000 new objects.
THRESHOLDS = (2000, 5, 2)


def prepare() -> None:
    """Make buffers as large as what comes in at once, and leave what is there for good out of the search for cycles."""
    asyncio.sslproto.SSLProtocol.max_size = TLS_RECORD
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
