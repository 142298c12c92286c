"""One HTTP client: TLS, proxies, deadlines, attempts, redirects, meter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haulout._face import open_face

if TYPE_CHECKING:
    from haulout.http.attempts import Patience
    from haulout.http.errcode import MAX_BODY, Answer, codes, failure, is_web_page
    from haulout.http.failures import FOREIGN, speaks_no_tls
    from haulout.http.meter import Meter
    from haulout.http.options import HttpOptions
    from haulout.http.origin import Origin, is_local, is_loopback, resolve_location
    from haulout.http.post import post_json
    from haulout.http.request import Request
    from haulout.http.retry import RETRIABLE
    from haulout.http.tls import TlsProfile, profile_for
    from haulout.http.transport import Reply, Transport, refuse_encoding

__all__ = [
    "FOREIGN",
    "MAX_BODY",
    "RETRIABLE",
    "Answer",
    "HttpOptions",
    "Meter",
    "Origin",
    "Patience",
    "Reply",
    "Request",
    "TlsProfile",
    "Transport",
    "codes",
    "failure",
    "is_local",
    "is_loopback",
    "is_web_page",
    "post_json",
    "profile_for",
    "refuse_encoding",
    "resolve_location",
    "speaks_no_tls",
]

open_face(
    __name__,
    {
        "attempts": ("Patience",),
        "errcode": ("Answer", "MAX_BODY", "codes", "failure", "is_web_page"),
        "failures": ("FOREIGN", "speaks_no_tls"),
        "meter": ("Meter",),
        "options": ("HttpOptions",),
        "origin": ("Origin", "is_local", "is_loopback", "resolve_location"),
        "post": ("post_json",),
        "request": ("Request",),
        "retry": ("RETRIABLE",),
        "tls": ("TlsProfile", "profile_for"),
        "transport": ("Reply", "Transport", "refuse_encoding"),
    },
)
