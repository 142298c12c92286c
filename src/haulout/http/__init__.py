"""One HTTP client: TLS, proxies, deadlines, attempts, redirects, meter, request log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.http.attempts import RETRIABLE, Attempts, failure
    from haulout.http.client import ACCEPTED, Caller, Client
    from haulout.http.failures import FOREIGN, speaks_no_tls
    from haulout.http.messages import Answer, Meter, Reply, Request
    from haulout.http.options import HttpOptions
    from haulout.http.origin import Origin, is_local, is_loopback
    from haulout.http.pinned import PinnedAnswer, PinnedServer, WrongServerKey
    from haulout.http.rate import RateLimit
    from haulout.http.redirects import REDIRECTS, Hops, Targets, location, resolve_location
    from haulout.http.tls import TlsProfile, profile_for
    from haulout.http.transport import Transport

__all__ = [
    "ACCEPTED",
    "FOREIGN",
    "REDIRECTS",
    "RETRIABLE",
    "Answer",
    "Attempts",
    "Caller",
    "Client",
    "Hops",
    "HttpOptions",
    "Meter",
    "Origin",
    "PinnedAnswer",
    "PinnedServer",
    "RateLimit",
    "Reply",
    "Request",
    "Targets",
    "TlsProfile",
    "Transport",
    "WrongServerKey",
    "failure",
    "is_local",
    "is_loopback",
    "location",
    "profile_for",
    "resolve_location",
    "speaks_no_tls",
]

open_face(
    __name__,
    {
        "attempts": ("RETRIABLE", "Attempts", "failure"),
        "client": ("ACCEPTED", "Caller", "Client"),
        "failures": ("FOREIGN", "speaks_no_tls"),
        "messages": ("Answer", "Meter", "Reply", "Request"),
        "options": ("HttpOptions",),
        "origin": ("Origin", "is_local", "is_loopback"),
        "pinned": ("PinnedAnswer", "PinnedServer", "WrongServerKey"),
        "rate": ("RateLimit",),
        "redirects": ("REDIRECTS", "Hops", "Targets", "location", "resolve_location"),
        "tls": ("TlsProfile", "profile_for"),
        "transport": ("Transport",),
    },
)
