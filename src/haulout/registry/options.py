"""What a caller decides about registries; everything else is decided by the files of the machine."""

from __future__ import annotations

from collections.abc import Callable  # noqa: F401 - as for Path
from dataclasses import dataclass, field
from pathlib import Path  # noqa: F401 - the inherited annotations are resolved here, too

from haulout.http import HttpOptions


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name with a secret. ``repr`` leaves the secrets out."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token, used in place of the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions(HttpOptions):
    """Choices of one command line."""

    plain_http: bool = False
    """Speak HTTP to the registry that the reference names (oras: ``--plain-http``)."""
    insecure: bool = False
    """Do not verify the certificate of the registry that the reference names (oras: ``--insecure``)."""
    credentials: Credentials | None = None
    """Used in place of those stored on the machine, for the registry that the reference names."""
    commit_seconds: float = 300.0
    """Longest wait for the answer to a complete upload: stores hash or copy the blob before they answer."""
    upload_chunk: int | None = None
    """Send blobs in pieces of so many bytes rather than in one request; None decides by registry."""
