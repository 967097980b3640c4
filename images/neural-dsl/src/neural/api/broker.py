"""How Redis is reached: directly, through a proxy or through Sentinel, with time-outs, with TLS where it is set."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import redis
from kombu.transport import redis as transport
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from neural.api.settings import Settings, settings

SOCKET_TIMEOUT = 5
CONNECT_TIMEOUT = 2
HEALTH_CHECK_INTERVAL = 5


class LivePassword(redis.CredentialProvider):
    """Redis' password as it is when a connection is opened: it is rotated while the service runs."""

    def __init__(self, username: str | None = None) -> None:
        self._username = username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What AUTH is given."""
        password = settings().redis_password
        return (self._username, password) if self._username else (password,)


def has_own_password(url: str) -> bool:
    """Whether a URL, or the first of several, carries a password of its own, which stays."""
    return urlsplit(url.split(";")[0]).password is not None


class Channel(transport.Channel):
    """Celery's channel, whose connections do not connect anew by themselves: Celery does, and begins to consume again.

    redis-py tries again three times by default. When the server has closed a connection and another one is there at
    once (HAProxy was replaced), that succeeds, and then waits on the new one for a message that nobody has asked for:
    the worker's event loop stands still.
    """

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        parameters = {**super()._connparams(asynchronous), "retry": Retry(NoBackoff(), 0)}
        config = settings()
        if config.redis_password and not has_own_password(config.celery_broker_url or config.redis_url):
            parameters.pop("password", None)
            parameters["credential_provider"] = LivePassword(parameters.pop("username", None))
        return parameters


class SentinelChannel(transport.SentinelChannel, Channel):
    """The same, for connections that are found through Sentinel."""


transport.Transport.Channel = Channel
transport.SentinelTransport.Channel = SentinelChannel


def tls_options(config: Settings, url: str = "") -> dict[str, Any]:
    """TLS parameters in redis-py's words; a URL's own come first. Certificate and name are always verified."""
    query = dict(parse_qsl(urlsplit(url.split(";")[0]).query))
    own = {name: value for name, value in query.items() if name in {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}}
    return {**config.redis_tls, **own, "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}


def without_query(url: str) -> str:
    """A URL without its parameters, which reach the client another way."""
    return urlunsplit(urlsplit(url)._replace(query=""))


def encrypted(config: Settings, url: str) -> bool:
    """Whether a URL's server is spoken to over TLS."""
    return url.startswith("rediss://") or (url.startswith("sentinel://") and config.sentinel_tls)


def transport_options(config: Settings, url: str) -> dict[str, Any]:
    """Celery's transport options: without these time-outs a failover hangs producers and workers for good."""
    options: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        "retry_on_timeout": True,
        "visibility_timeout": 3600,
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.5,
        "interval_max": 1,
    }
    if url.startswith("sentinel://"):
        options["master_name"] = config.redis_sentinel_master
        options["sentinel_kwargs"] = sentinel_options(config)
    return options


def sentinel_options(config: Settings) -> dict[str, Any]:
    """How Sentinels themselves are spoken to."""
    options: dict[str, Any] = {"socket_timeout": CONNECT_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}
    if config.redis_sentinel_password is None and config.redis_password:
        options["credential_provider"] = LivePassword()
    elif config.sentinel_password:
        options["password"] = config.sentinel_password
    if config.sentinel_tls:
        options |= {"ssl": True, **tls_options(config)}
    return options


def client(config: Settings, timeout: float = 0.5) -> redis.Redis:
    """A client for the API's own needs, which gives up fast: nothing of the API may wait for Redis."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": max(timeout, 1),
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        # redis-py's own default waits up to ten seconds between attempts.
        "retry": Retry(NoBackoff(), 1),
        "decode_responses": True,
    }
    url = config.redis_url or ("sentinel://" if config.redis_sentinel_hosts else config.celery_broker_url)
    if url.startswith("sentinel://"):
        hosts = config.redis_sentinel_hosts or [
            (parts.hostname or "", parts.port or 26379) for parts in map(urlsplit, config.broker_url().split(";"))
        ]
        if config.sentinel_tls:
            options |= {"ssl": True, **tls_options(config)}
        if config.redis_password:
            options["credential_provider"] = LivePassword()
        sentinel = Sentinel(hosts, sentinel_kwargs=sentinel_options(config), **options)
        master: redis.Redis = sentinel.master_for(config.redis_sentinel_master)
        return master
    parts = urlsplit(config._redis(url))
    username = unquote(parts.username) if parts.username else None
    if parts.scheme == "rediss":
        options |= {"ssl": True, **tls_options(config, url)}
    if config.redis_password and not has_own_password(url):
        options["credential_provider"] = LivePassword(username)
    else:
        options |= {"username": username, "password": unquote(parts.password) if parts.password else None}
    return redis.Redis(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        db=int(parts.path.strip("/") or 0),
        **options,
    )
