"""What is wrong with a message."""

from __future__ import annotations

from haulout.errors import ContentError


class InvalidMessage(ContentError):  # noqa: N818 - named as its siblings in haulout.errors
    """A message of the key broker protocol that cannot be read, or breaks a rule of the protocol.

    Attributes:
        what: the message, such as ``Attestation``.
        where: the dotted member at fault, "" for the message itself.
        reason: one line; it never quotes a value, which may be a secret.
    """

    def __init__(self, what: str, where: str, reason: str, *, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.reason = reason
        at = f" at {where}" if where else ""
        super().__init__(f"the message {what} is not valid{at}: {reason}", hint=hint)
