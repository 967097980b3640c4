# Copyright: the neural.platform maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What an image's folder is as a build context: its files, their hash and their archive, all from one list."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import tarfile
from functools import cache
from pathlib import Path

# images/ stands beside plugins/, in a checkout and in an installed collection.
IMAGES = Path(__file__).resolve().parents[2] / "images"
BASE = "base"
IGNORED_FOLDERS = {"tests", "__pycache__"}


class NoSuchImageError(Exception):
    """There is no folder with that name in images/."""


def context_files(name: str, images: Path = IMAGES) -> list[tuple[str, Path, bool]]:
    """Return the files of an image's folder, sorted: relative path, path, whether it can be executed.

    Hidden files and folders, tests and what Python compiles are no part of it.
    """
    folder = images / name
    if not (folder / "Dockerfile").is_file():
        known = ", ".join(sorted(path.parent.name for path in images.glob("*/Dockerfile")))
        raise NoSuchImageError(f"there is no image {name!r}: expected one of {known}")
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [item for item in folders if item not in IGNORED_FOLDERS and not item.startswith(".")]
        for item in files:
            if item.startswith(".") or item.endswith(".pyc"):
                continue
            path = Path(root) / item
            found.append((path.relative_to(folder).as_posix(), path, bool(path.stat().st_mode & 0o100)))
    return sorted(found)


@cache
def image_tag(name: str, images: Path = IMAGES) -> str:
    """Return 12 hexadecimal digits that change when a file of the image's folder, or of the base's, changes."""
    digest = hashlib.sha256()
    for folder in sorted({BASE, name}):
        for relative, path, executable in context_files(folder, images):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{folder}/{relative}\0{executable:d}\0{content}\n".encode())
    return digest.hexdigest()[:12]


@cache
def image_context(name: str, images: Path = IMAGES) -> str:
    """Return the image's folder as a compressed tar archive in Base64; the same files give the same text."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for relative, path, executable in context_files(name, images):
            content = path.read_bytes()
            entry = tarfile.TarInfo(relative)
            entry.size = len(content)
            entry.mode = 0o755 if executable else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return base64.b64encode(packed.getvalue()).decode()
