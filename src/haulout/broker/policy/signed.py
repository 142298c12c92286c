"""A signed list of images, published beside them: a policy that follows it learns of new images by itself. Pure.

The envelope is DSSE 1.0 (https://github.com/secure-systems-lab/dsse), whose signature covers the type as well.
docs/formats/images.md has the list.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from haulout.broker.policy.images import MOST_EPOCH, Image, read_images
from haulout.broker.policy.keys import is_signed_by
from haulout.documents import Document
from haulout.errors import ContentError, InvalidManifest
from haulout.local import Table
from haulout.oci import loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from haulout.broker.policy.document import WorkloadPolicy

PAYLOAD_TYPE: Final = "application/vnd.haulout.images.v1+json"
ARTIFACT_TYPE: Final = "application/vnd.haulout.images.v1"
"""Of the artifact that holds the envelope, attached to an image."""
MAX_BYTES: Final = 4 << 20
_MOST_SIGNATURES: Final = 16


class RefusedList(ContentError):  # noqa: N818 - as in haulout.errors
    """A signed list that must not be followed; ``rule`` is ``format``, ``signature``, ``workload`` or ``rollback``."""

    def __init__(self, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.rule = rule
        self.reason = reason
        super().__init__(f"refusing the list of images: {reason} ({rule})", hint=hint)


@dataclass(frozen=True, slots=True)
class ImageList(Document):
    """A list whose signature holds.

    Attributes:
        workload: whose images they are.
        number: grows with each list; a smaller one is refused.
        minimum_epoch: images below it get no key.
        images: the images, old and new ones during a rollout.
        digest: SHA-256 of what is signed, 64 hexadecimal digits.
    """

    workload: str
    number: int
    minimum_epoch: int
    images: tuple[Image, ...]
    digest: str

    json_members: ClassVar = ("workload", "number", "minimum_epoch", "images=named", "digest")

    @property
    def named(self) -> tuple[dict[str, Any], ...]:
        """Return names and epochs, and whether the list itself drops an image."""
        return tuple(
            {"name": one.name, "epoch": one.epoch, "dropped": one.epoch < self.minimum_epoch} for one in self.images
        )


def encoded(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding of a payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def read_list(data: bytes, keys: Sequence[bytes], *, what: str = "the list of images") -> ImageList:
    """Read a list, and verify that one of some keys signed it.

    Args:
        data: the envelope.
        keys: pinned public keys: SubjectPublicKeyInfo in DER.
        what: its name, for errors.

    Raises:
        RefusedList: it is no such list, or none of the keys signed it.
    """
    try:
        top = Table(loads(data, what, largest=MAX_BYTES), _wrong)
        payload = _binary(top, "payload")
        if top.text("payloadType") != PAYLOAD_TYPE:
            raise _wrong("payloadType", f"is not {PAYLOAD_TYPE}")
        signatures = [_binary(one, "sig") for one in top.tables("signatures")]
        if len(signatures) > _MOST_SIGNATURES:
            raise _wrong("signatures", f"has more than {_MOST_SIGNATURES} entries")
        signed = encoded(payload)
        # Before anything in it is looked at.
        if not any(is_signed_by(key, each, signed) for key in keys for each in signatures):
            hint = "the key is pinned in the policy, [follow] keys"
            raise RefusedList("signature", "none of the keys that the policy pins signed it", hint=hint)
        return _read(Table(loads(payload, what, largest=MAX_BYTES), _wrong), payload)
    except InvalidManifest as exc:
        raise RefusedList("format", exc.reason) from exc


def follow(policy: WorkloadPolicy, workload: str, found: ImageList, before: ImageList | None) -> WorkloadPolicy:
    """Return a policy with the images of a list that is to take the place of another.

    Args:
        policy: as its document has it, without a list.
        workload: whose policy it is.
        found: the list.
        before: the list that was followed so far.

    Raises:
        RefusedList: it is another workload's, or an older list.
        InvalidPolicy: a value in it is not of the length that its TEE has.
    """
    if found.workload != workload:
        raise RefusedList("workload", f"it is for {found.workload!r}, not {workload!r}")
    if before is not None:
        if found.number < before.number:
            reason = f"it has the number {found.number}, but {before.number} was followed already"
            raise RefusedList("rollback", reason, hint="publish a list with a higher number")
        if found.number == before.number and found.digest != before.digest:
            reason = f"it differs from the list with the same number, {found.number}, that was followed already"
            raise RefusedList("rollback", reason, hint="publish a list with a higher number")
        if found.minimum_epoch < before.minimum_epoch:
            reason = f"its minimum epoch, {found.minimum_epoch}, is below {before.minimum_epoch}, which was followed"
            raise RefusedList("rollback", reason, hint="a minimum epoch only grows")
    return policy.following(found.images, floor=found.minimum_epoch, number=found.number)


def _read(top: Table, payload: bytes) -> ImageList:
    images = read_images(top)
    found = ImageList(
        workload=top.text("workload"),
        number=top.number("number", None, MOST_EPOCH),
        minimum_epoch=top.number("minimum-epoch", 0, MOST_EPOCH),
        images=images,
        digest=hashlib.sha256(payload).hexdigest(),
    )
    top.end()
    return found


def _binary(table: Table, name: str) -> bytes:
    try:
        return base64.b64decode(str(table.take(name)), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise table.wrong(name, "is not base64") from exc


def _wrong(where: str, reason: str, *, hint: str | None = None) -> RefusedList:
    return RefusedList("format", f"{where}: {reason}", hint=hint)
