"""What a caller may decide about connections; everything else is decided by the files of the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

USER_AGENT: Final = "haulout"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks. Never shown: ``repr`` leaves the secrets out."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth2 refresh token, used in place of the password."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Choices of one command line."""

    plain_http: bool = False
    """Speak HTTP to the registry that the reference names (oras: ``--plain-http``)."""
    insecure: bool = False
    """Do not verify the certificate of the registry that the reference names (oras: ``--insecure``)."""
    ca_file: Path | None = None
    """Certificates trusted besides the system's, for every host."""
    credentials: Credentials | None = None
    """Used in place of those stored on the machine, for the registry that the reference names."""
    connect_seconds: float = 10.0
    """Longest wait for a connection, TLS included."""
    stall_seconds: float = 30.0
    """Longest silence in the middle of an answer or of a body being sent."""
    commit_seconds: float = 300.0
    """Longest wait for the answer to a complete upload: stores hash or copy the blob before they answer."""
    attempts: int = 5
    """Tries per request, the first included."""
    upload_chunk: int | None = None
    """Send blobs in pieces of so many bytes rather than in one request; None decides by host."""
    user_agent: str = USER_AGENT
