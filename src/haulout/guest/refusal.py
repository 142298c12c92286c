"""Why a guest does not start its workload."""

from __future__ import annotations

from enum import StrEnum

from haulout.errors import ContentError


class Rule(StrEnum):
    """What was broken. The names are stable: scripts and tests rely on them."""

    LAUNCH = "launch"
    """There is no launch document, or it cannot be read."""
    DEVICE = "tee-device"
    """No TEE can be asked for evidence."""
    BINDING_VALUE = "binding-value"
    """The processor vouches for another binding than the host handed over."""
    LUKS_HEADER = "luks-header"
    """The disk's header is not the one of the binding, or breaks a rule by itself."""
    BROKER_URL = "broker-url"
    """There is no broker, or nobody answers there."""
    BROKER_KEY = "broker-key"
    """Whoever answers does not hold the key of the binding."""
    BROKER_REFUSED = "broker-refused"
    """The broker does not release the key."""
    PASSPHRASE = "passphrase"  # noqa: S105 - the name of a rule
    """What the broker released does not open the disk."""
    VERITY = "verity"
    """The file system does not match the root hash of the binding."""
    ROOT = "root"
    """The file system cannot be mounted."""
    COMMAND = "command"
    """The image's configuration cannot be read, or names nothing that can be started."""


class GuestRefusal(ContentError):  # noqa: N818 - named as its siblings in haulout.errors
    """A guest that stops before its workload starts.

    Attributes:
        rule: what was broken.
        reason: one line.
    """

    def __init__(self, rule: Rule, reason: str, *, hint: str | None = None) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(f"{reason} ({rule})", hint=hint)
