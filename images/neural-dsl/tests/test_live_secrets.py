"""Secrets that are rotated while the service runs: their files are replaced, nothing is started anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from neural.api import auth, broker, db, settings

FIRST, SECOND = "key-of-the-first-owner", "key-of-the-first-owner-2"
REFUSED = psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "neural"')


class Secrets:
    """A directory of secrets, and the settings of a process that reads it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.read = settings._Live()

    def write(self, name: str, value: str) -> None:
        """Replace a secret's file, as Ansible does."""
        part = self.directory / f".{name}"
        part.write_text(value, encoding="utf-8")
        part.rename(self.directory / name)


@pytest.fixture
def secrets(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Secrets in files, which every module of the service reads."""
    made = Secrets(tmp_path)
    values = {
        "API_KEYS": FIRST,
        "DATABASE_PASSWORD": "old",
        "DATABASE_PASSWORD_OTHER": "",
        "REDIS_PASSWORD": "old",
    }
    for name in settings.SECRETS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    for name, value in environment.items():
        if name not in values:
            monkeypatch.setenv(name, value)
    for name, value in values.items():
        made.write(name, value)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    for module in (settings, auth, broker, db):
        monkeypatch.setattr(module, "settings" if module is not settings else "_live", made.read)
    return made


def provided(secrets: Secrets) -> str:
    """Redis' password."""
    return secrets.read().redis_password


def test_a_replaced_file_is_read_anew(secrets: Secrets) -> None:
    assert provided(secrets) == "old"
    assert secrets.read() is secrets.read()
    secrets.write("REDIS_PASSWORD", "new")
    assert provided(secrets) == "new"


def test_the_environment_is_that_of_the_start(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's variables are taken away once they were read."""
    assert secrets.read().celery_broker_url
    monkeypatch.delenv("CELERY_BROKER_URL")
    secrets.write("REDIS_PASSWORD", "new")
    assert secrets.read().celery_broker_url
    assert provided(secrets) == "new"


@pytest.mark.parametrize(("name", "value"), [("API_KEYS", ""), ("API_KEYS", "short"), ("DATABASE_PASSWORD", "\n")])
def test_what_cannot_be_used_is_not_taken(secrets: Secrets, name: str, value: str) -> None:
    known = secrets.read()
    secrets.write(name, value)
    assert secrets.read() == known
    (secrets.directory / name).unlink()
    assert secrets.read() == known


def test_both_keys_are_good_and_have_one_owner(secrets: Secrets) -> None:
    before = auth.by_key(secrets.read(), FIRST)
    assert before is not None
    secrets.write("API_KEYS", f"{before.owner}:{SECOND}\n{FIRST}")
    after = auth.by_key(secrets.read(), SECOND)
    assert after is not None and after.owner == before.owner
    assert auth.by_key(secrets.read(), FIRST) == before
    secrets.write("API_KEYS", f"{before.owner}:{SECOND}")
    assert auth.by_key(secrets.read(), FIRST) is None


def test_redis_is_given_the_password_of_now(secrets: Secrets) -> None:
    client = broker.client(secrets.read())
    provider = client.connection_pool.connection_kwargs["credential_provider"]
    assert provider.get_credentials() == ("old",)
    secrets.write("REDIS_PASSWORD", "new")
    assert provider.get_credentials() == ("new",)


class Dialect:
    """SQLAlchemy's, with a server that takes one password."""

    def __init__(self, good: str) -> None:
        self.good = good
        self.tried: list[str] = []

    def connect(self, *_words: Any, **named: Any) -> str:
        """Connect, or be refused."""
        self.tried.append(named["password"])
        if named["password"] != self.good:
            raise REFUSED
        return "a connection"


@pytest.mark.parametrize(("good", "tried"), [("old", ["old"]), ("new", ["old", "new"])])
def test_either_password_opens_the_database_while_it_is_rotated(secrets: Secrets, good: str, tried: list[str]) -> None:
    secrets.write("DATABASE_PASSWORD_OTHER", "new")
    dialect: Any = Dialect(good)
    assert db.connect(dialect, None, (), {"password": "of the start"}) == "a connection"
    assert dialect.tried == tried


def test_the_old_password_is_not_tried_any_more(secrets: Secrets) -> None:
    secrets.write("DATABASE_PASSWORD", "new")
    dialect: Any = Dialect("old")
    with pytest.raises(psycopg.OperationalError):
        db.connect(dialect, None, (), {})
    assert dialect.tried == ["new"]
