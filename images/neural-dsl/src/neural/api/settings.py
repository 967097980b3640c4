"""Settings, read from the environment; every secret also from a file named by ``<NAME>_FILE``.

Such a file is read anew when it has changed: secrets are rotated while the service runs.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

SECRETS = (
    "SECRET_KEY",
    "API_KEYS",
    "DATABASE_URL",
    "DATABASE_READ_URL",
    "DATABASE_PASSWORD",
    "DATABASE_PASSWORD_OTHER",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "REDIS_SENTINEL_PASSWORD",
    "CELERY_BROKER_URL",
    "CELERY_RESULT_BACKEND",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
# The one secret whose file may be empty: there is another password only while it is rotated.
MAY_BE_EMPTY = ("DATABASE_PASSWORD_OTHER",)
LOG = logging.getLogger("neural.api.settings")
# A container listens on all of its own addresses; what may reach them is the host's matter.
ANY_ADDRESS = str(IPv4Address(0))
MINIMUM_SECRET_KEY = 32
MINIMUM_API_KEY = 16
_DEFAULT_SECRET = re.compile(r"change.?(me|this)|your.?secret|default|example|placeholder|insecure", re.IGNORECASE)
# A name, or what a key without one is known by (auth.fingerprint): so the key that replaces it has the same owner.
_NAMED_KEY = re.compile(r"([a-z][a-z0-9_-]{0,31}|[0-9a-f]{16}):(.+)")


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence for the operator and holds no secret."""


def with_password(url: str, password: str) -> str:
    """Put a password into a URL that carries none."""
    parts = urlsplit(url)
    if not password or not parts.hostname or parts.password is not None:
        return url
    user, _separator, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def with_query(url: str, defaults: Mapping[str, str]) -> str:
    """Add query parameters that a URL does not have yet."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    missing = {name: value for name, value in defaults.items() if name not in query}
    return urlunsplit(parts._replace(query=urlencode({**query, **missing}))) if missing else url


def masked(text: str) -> str:
    """A text with every password of a URL replaced by ``***``."""
    return re.sub(r"(?<=://)([^:/@\s]*):[^@\s]+@", r"\1:***@", text)


class Settings(BaseModel):
    """What the environment says. Field names are the variables' names in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    secret_key: str = Field(default="", repr=False)
    api_keys: dict[str, str] = Field(default_factory=dict, repr=False)
    database_url: str = Field(default="", repr=False)
    database_read_url: str = Field(default="", repr=False)
    database_password: str = Field(default="", repr=False)
    database_password_other: str = Field(default="", repr=False)
    redis_url: str = Field(default="", repr=False)
    redis_password: str = Field(default="", repr=False)
    redis_sentinel_hosts: list[tuple[str, int]] = Field(default_factory=list)
    redis_sentinel_master: str = ""
    redis_sentinel_password: str | None = Field(default=None, repr=False)
    redis_sentinel_tls: bool | None = None
    redis_ssl_ca_file: str = ""
    redis_ssl_cert_file: str = ""
    redis_ssl_key_file: str = ""
    celery_broker_url: str = Field(default="", repr=False)
    celery_result_backend: str = Field(default="", repr=False)

    api_host: str = ANY_ADDRESS
    api_port: int = Field(default=8000, ge=1, le=65535)
    api_workers: int = Field(default=1, ge=1, le=64)
    api_ssl_cert_file: str = ""
    api_ssl_key_file: str = ""
    api_ssl_ca_file: str = ""
    api_ssl_client_ca_file: str = ""
    forwarded_allow_ips: str = "127.0.0.1"
    debug: bool = False
    log_level: str = "INFO"

    s3_enabled: bool = False
    s3_bucket: str = ""
    s3_endpoint_url: str = ""
    s3_ca_file: str = ""
    aws_access_key_id: str = Field(default="", repr=False)
    aws_secret_access_key: str = Field(default="", repr=False)
    aws_region: str = "us-east-1"
    storage_path: str = "/var/lib/neural/storage"

    rate_limit_requests: int = Field(default=100, ge=0)
    rate_limit_period: int = Field(default=60, ge=1)
    token_lifetime: int = Field(default=900, ge=60, le=86400)
    max_source_bytes: int = Field(default=262144, ge=1)
    database_pool_size: int = Field(default=4, ge=1)
    database_retry_seconds: float = Field(default=30, gt=0)
    job_lease_seconds: int = Field(default=60, ge=5)
    job_republish_seconds: int = Field(default=30, ge=1)
    job_max_attempts: int = Field(default=3, ge=1)
    job_time_limit: int = Field(default=300, ge=1)
    train_time_limit: int = Field(default=86400, ge=1)
    sweep_interval: float = Field(default=10, gt=0)

    dashboard_host: str = ANY_ADDRESS
    dashboard_port: int = Field(default=8050, ge=1, le=65535)
    dash_url_base_pathname: str = "/"

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_api_keys(cls, value: object) -> object:
        return parse_api_keys(value) if isinstance(value, str) else value

    @field_validator("redis_sentinel_hosts", mode="before")
    @classmethod
    def _parse_sentinels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        hosts = []
        for item in filter(None, (part.strip() for part in value.split(","))):
            host, separator, port = item.rpartition(":")
            if not separator:
                host, port = item, "26379"
            if not port.isdigit():
                raise ValueError(f"expected host:port, found {item!r}")
            hosts.append((host.strip("[]"), int(port)))
        return hosts

    @field_validator("dash_url_base_pathname")
    @classmethod
    def _slashes(cls, value: str) -> str:
        if not (value.startswith("/") and value.endswith("/")):
            raise ValueError("it must begin and end with /")
        return value

    # --- what follows from them ---------------------------------------------------------------------------------

    @property
    def redis_tls(self) -> dict[str, str]:
        """TLS parameters of redis-py, without which a Redis URL is not encrypted."""
        names = {
            "ssl_ca_certs": self.redis_ssl_ca_file,
            "ssl_certfile": self.redis_ssl_cert_file,
            "ssl_keyfile": self.redis_ssl_key_file,
        }
        found = {name: value for name, value in names.items() if value}
        return {"ssl_cert_reqs": "required", **found} if found else {}

    @property
    def sentinel_tls(self) -> bool:
        """Whether Sentinels, and the Redis they name, are spoken to over TLS."""
        return bool(self.redis_tls) if self.redis_sentinel_tls is None else self.redis_sentinel_tls

    @property
    def sentinel_password(self) -> str:
        """The Sentinels' own password, Redis's unless said otherwise."""
        return self.redis_password if self.redis_sentinel_password is None else self.redis_sentinel_password

    def primary_url(self) -> str:
        """URL of the database that takes writes."""
        return self._database(self.database_url)

    def read_url(self) -> str:
        """URL of the database that is read where a little lag does no harm."""
        return self._database(self.database_read_url or self.database_url)

    def _database(self, url: str) -> str:
        url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url)
        return with_password(url, self.database_password)

    def database_passwords(self) -> list[str]:
        """The passwords to try, in this order: while it is rotated either may be the database's."""
        return [password for password in (self.database_password, self.database_password_other) if password]

    def broker_url(self) -> str:
        """URL of Celery's broker, complete: password, several Sentinels, no TLS parameters."""
        url = self.celery_broker_url or self.redis_url or ("sentinel://" if self.redis_sentinel_hosts else "")
        return self._redis(url)

    def result_backend_url(self) -> str:
        """URL of Celery's result backend, or nothing."""
        return self._redis(self.celery_result_backend)

    def _redis(self, url: str) -> str:
        if url.startswith("sentinel://"):
            database = urlsplit(url.split(";")[-1]).path
            urls = [part.strip().rstrip("/") for part in url.split(";")]
            if not urlsplit(urls[0]).hostname:
                urls = [f"sentinel://{host}:{port}" for host, port in self.redis_sentinel_hosts]
            elif database.strip("/"):
                urls[-1] = urls[-1].removesuffix(database)
            return ";".join(with_password(part, self.redis_password) for part in urls) + (database or "/0")
        return with_password(url, self.redis_password)

    def require(self, role: str) -> Settings:
        """Check what a role needs: ``api``, ``worker``, ``migrate`` or ``dashboard``. Raises SettingsError."""
        if role == "api":
            self._require_api()
        if role in {"api", "worker", "migrate"}:
            self._require_database()
        if role in {"api", "worker"}:
            self._require_broker()
        for name in ("api_ssl_cert_file", "api_ssl_key_file", "api_ssl_ca_file", "api_ssl_client_ca_file"):
            if role in {"api", "dashboard"}:
                _require_readable(name.upper(), getattr(self, name))
        if bool(self.api_ssl_cert_file) != bool(self.api_ssl_key_file):
            raise SettingsError("API_SSL_CERT_FILE and API_SSL_KEY_FILE belong together, but only one of them is set.")
        return self

    def _require_api(self) -> None:
        if not self.secret_key:
            raise SettingsError("SECRET_KEY (or SECRET_KEY_FILE) is missing: it signs the tokens of the API.")
        if len(self.secret_key) < MINIMUM_SECRET_KEY:
            raise SettingsError(
                f"SECRET_KEY is too short: found {len(self.secret_key)} characters, "
                f"expected at least {MINIMUM_SECRET_KEY}."
            )
        if _DEFAULT_SECRET.search(self.secret_key) or len(set(self.secret_key)) < MINIMUM_SECRET_KEY // 4:
            raise SettingsError("SECRET_KEY is a default or a pattern: expected a random value.")
        if not self.api_keys:
            raise SettingsError("API_KEYS (or API_KEYS_FILE) is missing: expected at least one key, one per line.")

    def _require_database(self) -> None:
        for name, url in (("DATABASE_URL", self.database_url), ("DATABASE_READ_URL", self.database_read_url)):
            if not url and name == "DATABASE_READ_URL":
                continue
            if not url:
                raise SettingsError(f"{name} (or {name}_FILE) is missing.")
            parts = urlsplit(self._database(url))
            if parts.scheme != "postgresql+psycopg" or not parts.hostname:
                raise SettingsError(f"{name} is not a PostgreSQL URL: expected postgresql://user@host:port/database.")
            for parameter, value in parse_qsl(parts.query):
                if parameter in {"sslrootcert", "sslcert", "sslkey"} and value != "system":
                    _require_readable(f"{parameter} in {name}", value)

    def _require_broker(self) -> None:
        urls = {"CELERY_BROKER_URL": self.broker_url(), "CELERY_RESULT_BACKEND": self.result_backend_url()}
        urls["REDIS_URL"] = self._redis(self.redis_url)
        if not urls["CELERY_BROKER_URL"]:
            raise SettingsError("CELERY_BROKER_URL (or CELERY_BROKER_URL_FILE) is missing, and so is REDIS_URL.")
        for name, url in urls.items():
            scheme = urlsplit(url).scheme
            if url and scheme not in {"redis", "rediss", "sentinel"}:
                raise SettingsError(f"{name} has scheme {scheme!r}: expected redis://, rediss:// or sentinel://.")
            if scheme == "sentinel" and not self.redis_sentinel_master:
                raise SettingsError(f"{name} names Sentinels, but REDIS_SENTINEL_MASTER is missing.")
        for name in ("redis_ssl_ca_file", "redis_ssl_cert_file", "redis_ssl_key_file"):
            _require_readable(name.upper(), getattr(self, name))


def parse_api_keys(text: str) -> dict[str, str]:
    """Owners by key, from a JSON list or one key a line; ``name:key`` gives the owner a name."""
    text = text.strip()
    try:
        items = json.loads(text) if text.startswith("[") else re.split(r"[\n,]", text)
    except json.JSONDecodeError:
        raise ValueError("it begins like a JSON list but is none") from None
    keys: dict[str, str] = {}
    for number, item in enumerate(items, 1):
        if not isinstance(item, str):
            raise ValueError(f"key number {number} is not a string")
        entry = item.strip()
        if not entry or entry.startswith("#"):
            continue
        named = _NAMED_KEY.fullmatch(entry)
        owner, key = (named[1], named[2]) if named else ("", entry)
        if len(key) < MINIMUM_API_KEY:
            raise ValueError(f"key number {number} has {len(key)} characters, expected at least {MINIMUM_API_KEY}")
        keys[key] = owner
    return keys


def _require_readable(name: str, path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise SettingsError(f"{name} names {path}, which cannot be read: {error.strerror}.") from None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings from an environment. Raises SettingsError."""
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        variable = name.upper()
        value = environment.get(variable)
        path = environment.get(f"{variable}_FILE") if variable in SECRETS else None
        if path and value:
            raise SettingsError(f"{variable} and {variable}_FILE are both set: expected one of them.")
        if path:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8"
                raise SettingsError(f"{variable}_FILE names {path}, which cannot be read: {reason}.") from None
        if value is not None and (value != "" or name == "redis_sentinel_password"):
            values[name] = value
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        variable = str(first["loc"][0]).upper()
        raise SettingsError(f"{variable} is wrong: {first['msg']}.") from None


def _stamp(files: Iterable[Path]) -> tuple[object, ...]:
    """What changes when a file is another one."""
    stamp: list[object] = []
    for file in files:
        try:
            found = file.stat()
            stamp.append((found.st_ino, found.st_mtime_ns, found.st_size))
        except OSError:
            stamp.append(None)
    return tuple(stamp)


def reread(environment: Mapping[str, str], known: Settings) -> Settings:
    """The settings with the secrets of now; the known ones where those cannot be used."""
    try:
        found = from_environment(environment)
        for variable in SECRETS:
            field = variable.lower()
            if variable not in MAY_BE_EMPTY and getattr(known, field) and not getattr(found, field):
                raise SettingsError(f"{variable} is empty.")
    except SettingsError as error:
        LOG.error("secrets have changed, but cannot be used: %s", error)
        return known
    LOG.info("secrets have changed and were read anew")
    return found


class _Live:
    """The settings of this process. Without a lock: what two threads read at once is the same."""

    def __init__(self) -> None:
        self._environment: dict[str, str] = {}
        self._files: list[Path] = []
        self._current: tuple[tuple[object, ...], Settings] | None = None

    def __call__(self) -> Settings:
        current = self._current
        if current is None:
            # Kept, for Celery must not see some of these variables.
            self._environment = dict(os.environ)
            self._files = [Path(path) for name in SECRETS if (path := os.environ.get(f"{name}_FILE"))]
            stamp = _stamp(self._files)
            current = self._current = (stamp, from_environment(self._environment))
        elif (stamp := _stamp(self._files)) != current[0]:
            current = self._current = (stamp, reread(self._environment, current[1]))
        return current[1]


_live = _Live()


def settings() -> Settings:
    """The settings of this process, with the secrets of now."""
    return _live()
