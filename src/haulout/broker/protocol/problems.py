"""What a broker answers instead of what was asked for: problem details (RFC 7807).

Types of the protocol's own paths stand below Trustee's prefix, under Trustee's names where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from haulout.broker.protocol.errors import InvalidMessage
from haulout.broker.protocol.members import Members
from haulout.oci import json

MEDIA_TYPE: Final = "application/problem+json"
PREFIX: Final = "https://github.com/confidential-containers/kbs/errors/"


class Trouble(StrEnum):
    """Every type of problem. The names are stable."""

    INVALID_REQUEST = "InvalidRequest"
    AUTH_FAILED = "RcarAuthFailed"
    ATTEST_FAILED = "RcarAttestFailed"
    NO_SESSION = "TokenNotFound"
    DENIED = "PolicyDeny"
    NOT_FOUND = "InvalidRequestPath"
    NOT_ALLOWED = "AdminAuthAccess"
    CONFLICT = "Conflict"
    TOO_SLOW = "RequestTimeout"
    TOO_LARGE = "PayloadTooLarge"
    TOO_MANY = "TooManyRequests"
    METHOD = "MethodNotAllowed"
    UNAVAILABLE = "Unavailable"


STATUS: Final = {
    Trouble.INVALID_REQUEST: 400,
    Trouble.AUTH_FAILED: 401,
    Trouble.ATTEST_FAILED: 401,
    Trouble.NO_SESSION: 401,
    Trouble.NOT_ALLOWED: 401,
    Trouble.DENIED: 403,
    Trouble.NOT_FOUND: 404,
    Trouble.METHOD: 405,
    Trouble.TOO_SLOW: 408,
    Trouble.CONFLICT: 409,
    Trouble.TOO_LARGE: 413,
    Trouble.TOO_MANY: 429,
    Trouble.UNAVAILABLE: 503,
}
"""Trustee's clients attest anew at 401, and give up at others."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem.

    Attributes:
        trouble: its type.
        detail: one line for people.
        instance: the request's id, which the broker's log has, too; "" where there is none.
        status: of HTTP.
    """

    trouble: str
    detail: str
    instance: str = ""
    status: int = 0

    def to_bytes(self) -> bytes:
        """Return the body."""
        document: dict[str, str | int] = {
            "type": f"{PREFIX}{self.trouble}",
            "title": self.trouble,
            "status": self.status or STATUS[Trouble(self.trouble)],
            "detail": self.detail,
        }
        if self.instance:
            document["instance"] = self.instance
        return json.dumps(document)

    @classmethod
    def parse(cls, data: bytes, status: int) -> Self:
        """Read a problem of any broker that speaks the protocol.

        Raises:
            InvalidMessage: it is none.
        """
        message = Members.parse(data, "Problem")
        kind = message.text("type", longest=1024).rpartition("/")[2]
        if not kind:
            raise InvalidMessage("Problem", "type", "it is empty")
        return cls(kind, message.text("detail", "", longest=1 << 16), message.text("instance", ""), status)


class Rejected(Exception):  # noqa: N818 - it carries an answer, as Refused of tee does
    """Carries a problem to where the answer is written."""

    def __init__(self, trouble: Trouble, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = detail
        self.retry_after = retry_after
