"""Settings from the environment and from files."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from neural.api import broker, db
from neural.api.celery_app import configuration
from neural.api.settings import SettingsError, from_environment, masked, parse_api_keys, with_password, with_query


def test_least(environment: dict[str, str]) -> None:
    config = from_environment(environment).require("api")
    assert config.api_keys == {"key-of-the-first-owner": "", "key-of-the-second-owner": "second"}
    assert config.read_url() == config.primary_url() == "postgresql+psycopg://neural@db.internal:5432/neural_api"


@pytest.mark.parametrize("name", ["SECRET_KEY", "API_KEYS", "DATABASE_URL", "CELERY_BROKER_URL"])
def test_a_secret_may_come_from_a_file(environment: dict[str, str], name: str, tmp_path: Path) -> None:
    expected = from_environment(environment)
    file = tmp_path / "secret"
    file.write_text(environment.pop(name) + "\n", encoding="utf-8")
    assert from_environment({**environment, f"{name}_FILE": str(file)}) == expected


def test_both_forms_are_refused(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY and SECRET_KEY_FILE are both set"):
        from_environment({**environment, "SECRET_KEY_FILE": str(tmp_path)})


def test_a_file_that_is_not_there(environment: dict[str, str]) -> None:
    del environment["API_KEYS"]
    with pytest.raises(SettingsError, match=r"API_KEYS_FILE names /nowhere, which cannot be read: No such file"):
        from_environment({**environment, "API_KEYS_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY .* is missing"),
        ({"SECRET_KEY": "short"}, "too short: found 5 characters, expected at least 32"),
        ({"SECRET_KEY": "change-me-" * 4}, "default or a pattern"),
        ({"SECRET_KEY": "a" * 40}, "default or a pattern"),
        ({"API_KEYS": ""}, "API_KEYS .* is missing"),
        ({"API_KEYS": "short"}, "API_KEYS is wrong: .*key number 1 has 5 characters, expected at least 16"),
        ({"API_KEYS": "[broken"}, "API_KEYS is wrong"),
        ({"DATABASE_URL": ""}, "DATABASE_URL .* is missing"),
        ({"DATABASE_URL": "mysql://db/x"}, "not a PostgreSQL URL"),
        ({"DATABASE_URL": "postgresql://db/x?sslrootcert=/nowhere"}, "sslrootcert in DATABASE_URL names /nowhere"),
        ({"CELERY_BROKER_URL": ""}, "CELERY_BROKER_URL .* is missing"),
        ({"CELERY_BROKER_URL": "amqp://x"}, "scheme 'amqp'"),
        ({"CELERY_BROKER_URL": "sentinel://x"}, "REDIS_SENTINEL_MASTER is missing"),
        ({"REDIS_SSL_CA_FILE": "/nowhere"}, "REDIS_SSL_CA_FILE names /nowhere"),
        ({"API_PORT": "http"}, "API_PORT is wrong"),
        ({"API_PORT": "70000"}, "API_PORT is wrong"),
        ({"API_SSL_CERT_FILE": __file__}, "belong together"),
        ({"DEBUG": "perhaps"}, "DEBUG is wrong"),
        ({"REDIS_SENTINEL_HOSTS": "a:b"}, "REDIS_SENTINEL_HOSTS is wrong"),
        ({"DASH_URL_BASE_PATHNAME": "dashboard"}, "DASH_URL_BASE_PATHNAME is wrong"),
    ],
)
def test_one_sentence_a_mistake(environment: dict[str, str], change: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        from_environment({**environment, **change}).require("api")
    assert "\n" not in str(caught.value)


def test_no_sentence_and_no_repr_shows_a_secret(environment: dict[str, str]) -> None:
    assert environment["SECRET_KEY"] not in repr(from_environment(environment))
    assert "key-of-the" not in repr(from_environment(environment))
    with pytest.raises(SettingsError) as caught:
        from_environment({**environment, "API_KEYS": "sh0rt"})
    assert "sh0rt" not in str(caught.value)


def test_workers_need_no_key_of_the_api(environment: dict[str, str]) -> None:
    del environment["SECRET_KEY"], environment["API_KEYS"]
    from_environment(environment).require("worker")
    from_environment({}).require("dashboard")


def test_keys_as_lines_and_as_json() -> None:
    lines = "# comment\nfirst-key-0123456789\n\nops:second-key-0123456789\n"
    assert parse_api_keys(lines) == parse_api_keys(json.dumps(["first-key-0123456789", "ops:second-key-0123456789"]))


def test_urls() -> None:
    assert with_password("redis://host:1/0", "p@ss/word") == "redis://:p%40ss%2Fword@host:1/0"
    assert with_password("postgresql://user@host/db?x=1", "secret") == "postgresql://user:secret@host/db?x=1"
    assert with_password("redis://:own@host", "other") == "redis://:own@host"
    assert with_query("redis://h/0?a=1", {"a": "2", "b": "3"}) == "redis://h/0?a=1&b=3"
    assert masked("see redis://:secret@h and postgresql://u:pw@h/d") == "see redis://:***@h and postgresql://u:***@h/d"


def test_the_databases_password_goes_into_both_urls(environment: dict[str, str]) -> None:
    environment |= {"DATABASE_PASSWORD": "p/w", "DATABASE_READ_URL": "postgres://neural@db.internal:5433/neural_api"}
    config = from_environment(environment)
    assert config.primary_url() == "postgresql+psycopg://neural:p%2Fw@db.internal:5432/neural_api"
    assert config.read_url() == "postgresql+psycopg://neural:p%2Fw@db.internal:5433/neural_api"


def test_database_connections_have_time_outs_but_the_url_decides() -> None:
    url = db.connect_url("postgresql+psycopg://u@h/d?sslmode=verify-full&connect_timeout=9", options="-c a=b")
    assert "connect_timeout=9" in url and "tcp_user_timeout=15000" in url and "sslmode=verify-full" in url


def test_broker_through_a_proxy_with_tls(environment: dict[str, str]) -> None:
    environment |= {
        "CELERY_BROKER_URL": "rediss://redis.neural.internal:6379/0",
        "CELERY_RESULT_BACKEND": "rediss://redis.neural.internal:6379/1",
        "REDIS_PASSWORD": "pw",
        "REDIS_SSL_CA_FILE": "/ca",
        "REDIS_SSL_CERT_FILE": "/crt",
        "REDIS_SSL_KEY_FILE": "/key",
    }
    values = configuration(from_environment(environment))
    assert values["broker_url"] == "rediss://:pw@redis.neural.internal:6379/0"
    assert values["result_backend"] == "rediss://:pw@redis.neural.internal:6379/1"
    for tls in (values["broker_use_ssl"], values["redis_backend_use_ssl"]):
        assert tls["ssl_cert_reqs"] == ssl.CERT_REQUIRED
        assert tls["ssl_check_hostname"] is True
        assert (tls["ssl_ca_certs"], tls["ssl_certfile"], tls["ssl_keyfile"]) == ("/ca", "/crt", "/key")
    options = values["broker_transport_options"]
    assert {"socket_timeout", "socket_connect_timeout", "health_check_interval"} <= set(options)
    assert "master_name" not in options


def test_tls_parameters_of_a_url_count_too(environment: dict[str, str]) -> None:
    environment["CELERY_BROKER_URL"] = "rediss://h:1/0?ssl_ca_certs=/own&ssl_cert_reqs=none"
    values = configuration(from_environment(environment))
    assert values["broker_url"] == "rediss://h:1/0"
    assert values["broker_use_ssl"]["ssl_ca_certs"] == "/own"
    assert values["broker_use_ssl"]["ssl_cert_reqs"] == ssl.CERT_REQUIRED, "verification cannot be turned off"


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://",
        "sentinel://10.0.0.1:26379;sentinel://10.0.0.2:26379",
        "sentinel://10.0.0.1:26379;sentinel://10.0.0.2:26379/0",
    ],
)
def test_broker_through_sentinel(environment: dict[str, str], url: str) -> None:
    environment |= {
        "CELERY_BROKER_URL": url,
        "REDIS_SENTINEL_HOSTS": "10.0.0.1:26379,10.0.0.2:26379",
        "REDIS_SENTINEL_MASTER": "neural-redis",
        "REDIS_PASSWORD": "pw",
        "REDIS_SSL_CA_FILE": "/ca",
    }
    config = from_environment(environment)
    values = configuration(config)
    assert values["broker_url"] == "sentinel://:pw@10.0.0.1:26379;sentinel://:pw@10.0.0.2:26379/0"
    assert values["broker_use_ssl"]["ssl_ca_certs"] == "/ca"
    options = values["broker_transport_options"]
    assert options["master_name"] == "neural-redis"
    assert {"ssl": True, "ssl_ca_certs": "/ca"}.items() <= options["sentinel_kwargs"].items()
    assert isinstance(options["sentinel_kwargs"]["credential_provider"], broker.LivePassword)
    for password in ("", "own"):
        found = broker.sentinel_options(config.model_copy(update={"redis_sentinel_password": password}))
        assert found.get("password", "") == password and "credential_provider" not in found


def test_sentinels_password_may_be_none(environment: dict[str, str]) -> None:
    config = from_environment({**environment, "REDIS_PASSWORD": "pw", "REDIS_SENTINEL_PASSWORD": ""})
    assert not config.sentinel_password


def test_tasks_survive_their_worker(environment: dict[str, str]) -> None:
    values = configuration(from_environment(environment))
    assert values["task_acks_late"] and values["task_reject_on_worker_lost"]
    assert values["worker_prefetch_multiplier"] == 1
    assert values["broker_connection_max_retries"] is None
    assert values["broker_channel_error_retry"]
    assert values["task_default_queue"] == "general"
    assert {task: route["queue"] for task, route in values["task_routes"].items()} == {
        "neural.compile": "compilation",
        "neural.export": "export",
        "neural.train": "training",
        "neural.analyze": "general",
    }
