"""Where artefacts are kept: S3 or the shared path; small ones in the database too, for any API host to give out."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from neural.api.engine import Artifact
from neural.api.settings import Settings, settings

LOG = logging.getLogger("neural.api.storage")
INLINE_LIMIT = 1024 * 1024


class StorageError(Exception):
    """An artefact could not be kept, or is not there; the message tells its owner."""


class Kept(NamedTuple):
    """Where an artefact is."""

    location: str | None
    inline: bytes | None
    warnings: list[str]


def store(job_id: str, artifact: Artifact) -> Kept:
    """Keep an artefact. Raises StorageError if it is kept nowhere."""
    config = settings()
    inline = artifact.content if len(artifact.content) <= INLINE_LIMIT else None
    key = f"artifacts/{job_id[:2]}/{job_id}/{artifact.name}"
    try:
        location = _to_s3(config, key, artifact) if config.s3_enabled else _to_path(config, key, artifact)
    except Exception as error:  # boto3 makes its exceptions at run time
        place = "S3" if config.s3_enabled else "the shared path"
        LOG.warning("artefact of job %s: %s does not take it: %s", job_id, place, error)
        if inline is None:
            raise StorageError(f"The artefact could not be kept: {place} does not take it.") from error
        return Kept(None, inline, [f"The artefact is kept in the database only: {place} does not take it."])
    return Kept(location, inline, [])


def load(location: str) -> bytes:
    """An artefact's bytes. Raises StorageError."""
    config = settings()
    parts = urlsplit(location)
    try:
        if parts.scheme == "s3":
            answer = _s3(config).get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            content: bytes = answer["Body"].read()
            return content
        root = Path(config.storage_path).resolve()
        path = (root / parts.path.lstrip("/")).resolve()
        if not path.is_relative_to(root):
            raise StorageError("The artefact lies outside the shared path.")
        return path.read_bytes()
    except StorageError:
        raise
    except Exception as error:
        LOG.warning("artefact %s: %s", location, error)
        raise StorageError("The artefact cannot be read where it is kept.") from error


def _to_path(config: Settings, key: str, artifact: Artifact) -> str:
    target = Path(config.storage_path) / key
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(artifact.content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    return f"file:/{key}"


def _to_s3(config: Settings, key: str, artifact: Artifact) -> str:
    _s3(config).put_object(
        Bucket=config.s3_bucket,
        Key=key,
        Body=artifact.content,
        ContentType=artifact.media_type,
        Metadata={"sha256": artifact.sha256},
    )
    return f"s3://{config.s3_bucket}/{key}"


def _s3(config: Settings) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=config.s3_endpoint_url or None,
        aws_access_key_id=config.aws_access_key_id or None,
        aws_secret_access_key=config.aws_secret_access_key or None,
        region_name=config.aws_region,
        verify=config.s3_ca_file or None,
        config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"}),
    )
