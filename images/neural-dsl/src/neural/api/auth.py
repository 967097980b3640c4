"""Who is calling: an API key, or a short-lived token that was given for one."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Annotated, NamedTuple

import jwt
from fastapi import Depends, Header, HTTPException

from neural.api.settings import Settings, settings

AUDIENCE = "neural-api"


class Caller(NamedTuple):
    """An owner of jobs, and the key that it came with."""

    owner: str
    fingerprint: str


def fingerprint(key: str) -> str:
    """What stands for a key where the key itself must not be seen."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def callers(config: Settings) -> list[tuple[bytes, Caller]]:
    """All keys with their owners."""
    return [(key.encode(), Caller(name or fingerprint(key), fingerprint(key))) for key, name in config.api_keys.items()]


def by_key(config: Settings, key: str) -> Caller | None:
    """The owner of a key, found in the same time whatever the key."""
    found = None
    for known, caller in callers(config):
        if hmac.compare_digest(known, key.encode()):
            found = caller
    return found


def make_token(config: Settings, caller: Caller) -> tuple[str, int]:
    """A token for a caller, and how long it is good."""
    now = int(time.time())
    claims = {
        "iss": AUDIENCE,
        "aud": AUDIENCE,
        "sub": caller.owner,
        "key": caller.fingerprint,
        "iat": now,
        "exp": now + config.token_lifetime,
    }
    return jwt.encode(claims, config.secret_key, algorithm="HS256"), config.token_lifetime


def by_token(config: Settings, token: str) -> Caller | None:
    """The owner of a token, while the token and the key that it was given for are good."""
    try:
        claims = jwt.decode(
            token,
            config.secret_key,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=AUDIENCE,
            leeway=5,
            options={"require": ["exp", "sub", "key"]},
        )
    except jwt.InvalidTokenError:
        return None
    caller = Caller(str(claims["sub"]), str(claims["key"]))
    return caller if caller in {known for _name, known in callers(config)} else None


def identify(
    x_api_key: Annotated[str | None, Header()] = None,
    authorization: Annotated[str | None, Header()] = None,
) -> Caller:
    """The caller of a request, or 401."""
    config = settings()
    caller = None
    if x_api_key:
        caller = by_key(config, x_api_key)
    elif authorization:
        scheme, _separator, token = authorization.partition(" ")
        caller = by_token(config, token.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise HTTPException(
            status_code=401,
            detail="A valid key in the header X-API-Key, or a valid token in Authorization: Bearer, is needed.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return caller


Identified = Annotated[Caller, Depends(identify)]
