"""Who looks at the console: an owner, by a token; from then on by a signed cookie, which any instance accepts.

The cookie says which credential logged in, by its digest, and until when. With each request the credential is looked
up: one that was revoked ends the login.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from haulout.broker.sessions import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from haulout.broker.protocol import SigningKey

COOKIE: Final = "__Host-haulout-console"
HOURS: Final = 8
_ALGORITHM: Final = "HS256"
_LONGEST: Final = 1024


def credential_of(token: str) -> str | None:
    """Return the digest of a token as it was typed; None where it can be none."""
    text = token.strip()
    return digest_of(text) if 0 < len(text) <= _LONGEST and text.isascii() else None


def make_cookie(credential: str, key: SigningKey, now: datetime) -> str:
    """Return the value of the cookie."""
    until = now + timedelta(hours=HOURS)
    claims = {"sub": credential, "iat": int(now.timestamp()), "exp": int(until.timestamp())}
    return jwt.encode({"alg": _ALGORITHM}, claims, _derived(key), algorithms=[_ALGORITHM])


def read_cookie(value: str, keys: Iterable[SigningKey], now: datetime) -> str | None:
    """Return the credential that a cookie is about; None: it is not ours, or has expired."""
    if len(value) > _LONGEST:
        return None
    for key in keys:
        try:
            claims = jwt.decode(value, _derived(key), algorithms=[_ALGORITHM]).claims
        except (ValueError, TypeError, KeyError, JoseError, UnicodeError):
            continue
        subject, until = claims.get("sub"), claims.get("exp")
        if isinstance(subject, str) and isinstance(until, int) and now.timestamp() < until:
            return subject
    return None


def _derived(key: SigningKey) -> OctKey:
    """Derive the key for cookies, so that neither a cookie nor a token of a guest can pass for the other."""
    derive = HKDF(hashes.SHA256(), 32, salt=None, info=b"haulout broker: console cookies, version 1")
    return OctKey.import_key(derive.derive(key.to_pem()))
