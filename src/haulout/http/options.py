"""What a caller decides about HTTP connections; proxies and certs.d are decided by the machine."""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003 - subclasses elsewhere are documented with it
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - subclasses elsewhere are documented with it
from typing import Final

USER_AGENT: Final = "haulout"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Certificates, deadlines and attempts, for every server."""

    ca_file: Path | None = None
    """Certificates trusted besides the system's."""
    connect_seconds: float = 10.0
    """Longest wait for a connection, TLS included."""
    stall_seconds: float = 30.0
    """Longest silence in the middle of an answer or of a body being sent."""
    attempts: int = 5
    """Attempts per request, the first included."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts (``host`` or ``host:port``) that a server may send us to, though they are in this machine's own network or
    speak no TLS: for content, and for tokens, which takes credentials there."""
    user_agent: str = USER_AGENT
    on_bytes: Callable[[int], None] | None = None
    """Called with the length of each block of a body, after it is received and before it is sent, from several threads.
    It may wait, which slows the transfer: :class:`RateLimit`."""
