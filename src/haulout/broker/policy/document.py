"""The policy of a workload: which evidence gets its key, how often, and when. Pure.

The document is a policy for evidence (docs/evidence.md) with three more tables, ``[release]``, ``[[images]]`` and
``[follow]``, in TOML or in JSON. So the policy that ``haulout cw build`` writes is one, too. docs/formats/policy.md.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from haulout.broker.policy.images import MOST_EPOCH, NAMING, Image, Known, combine, read_images
from haulout.broker.policy.keys import read_key
from haulout.documents import Document
from haulout.errors import InvalidManifest, InvalidPolicy
from haulout.local import Table, parse_toml
from haulout.oci import loads
from haulout.tee import read_policy, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from haulout.tee import Policy

MAX_BYTES: Final = 1 << 20
MOST_RELEASES: Final = (1 << 53) - 1
_DAY: Final = 86_400
_UNMEASURED: Final = "is missing: any firmware and kernel would get the key"


@dataclass(frozen=True, slots=True)
class Release(Document):
    """When a key is released.

    Attributes:
        releases: how often at most; None: any number.
        minimum_epoch: of the image; older ones get no key.
        not_before: the first moment; None: any.
        not_after: the last moment; None: any.
        evidence_seconds: how long after it was verified evidence counts.
        v0: whether the protocol of libkrun up to 1.19 is spoken, which binds less (docs/broker.md).
        any_measurement: whether it does not matter what booted.
    """

    releases: int | None = None
    minimum_epoch: int = 0
    not_before: datetime | None = None
    not_after: datetime | None = None
    evidence_seconds: int = 300
    v0: bool = False
    any_measurement: bool = False

    json_members: ClassVar = (
        "releases",
        "minimum_epoch",
        "not_before=begin",
        "not_after=end",
        "evidence_seconds",
        "v0",
        "any_measurement",
    )

    @property
    def begin(self) -> str | None:
        """Return the first moment as text."""
        return None if self.not_before is None else stamp(self.not_before)

    @property
    def end(self) -> str | None:
        """Return the last moment as text."""
        return None if self.not_after is None else stamp(self.not_after)


@dataclass(frozen=True, slots=True)
class WorkloadPolicy(Document):
    """A policy as it was read.

    Attributes:
        name: for people.
        digest: SHA-256 of the document, 64 hexadecimal digits.
        evidence: what evidence has to say, for :func:`haulout.tee.verify`; its name has the digest.
        release: when.
        images: those of the document, then those of the followed list.
        follows: whether a signed list has to be there.
        keys: of which one has to sign the list: SubjectPublicKeyInfo in DER.
        floor: the minimum epoch of the followed list.
        listed: number of the followed list; None where there is none.
    """

    name: str
    digest: str
    evidence: Policy
    release: Release
    images: tuple[Known, ...] = ()
    follows: bool = False
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    floor: int = 0
    listed: int | None = None
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    json_members: ClassVar = (
        "name",
        "digest",
        "tees",
        "test=evidence.test",
        "release",
        "minimum_epoch",
        "images=named",
        "follows",
        "list=listed",
    )

    @property
    def tees(self) -> tuple[str, ...]:
        """Return the kinds of TEE that are accepted."""
        return tuple(sorted(self.evidence.sections))

    @property
    def minimum_epoch(self) -> int:
        """Return the minimum epoch: the policy's, or the list's if that is higher."""
        return max(self.release.minimum_epoch, self.floor)

    @property
    def named(self) -> tuple[dict[str, Any], ...]:
        """Return the images, newest first."""
        found = sorted((known.image for known in self.images), key=lambda image: image.order)
        return tuple({"name": image.name, "epoch": image.epoch} for image in found)

    def following(self, images: Iterable[Image], *, floor: int, number: int) -> Self:
        """Return the policy with the images of a list that was verified; those below the minimum epoch are dropped.

        Args:
            images: of the list.
            floor: the list's minimum epoch.
            number: the list's.

        Raises:
            InvalidPolicy: a value is not of the length that its TEE has.
        """
        wrong = wrong_policy("the signed list")
        least = max(self.release.minimum_epoch, floor)
        added = tuple(
            combine(image, self.sections, wrong, f"images[{place}]")
            for place, image in enumerate(images)
            if image.epoch >= least
        )
        for kind, values in self.sections.items():
            _require_measured(kind, values, added, self.release, wrong)
        return replace(self, images=(*self.images, *added), floor=floor, listed=number)


def parse(data: bytes, what: str = "policy") -> WorkloadPolicy:
    """Read a policy, in TOML or JSON.

    Args:
        data: the document.
        what: its file's name, for errors.

    Raises:
        InvalidPolicy: it is neither, a key is unknown or missing or has an impossible value, or it does not bind.
    """
    wrong = wrong_policy(what)
    top = _table(data, what)
    digest = hashlib.sha256(data).hexdigest()
    evidence = read_policy(top, what, also=("release", "images", "follow"))
    release = _release(top.table("release"))
    images = read_images(top)
    follow = top.table("follow")
    follows = top.has("follow")
    keys = tuple(read_key(follow, text) for text in follow.listed("keys") or ()) if follows else ()
    follow.end()
    if follows and not keys:
        raise wrong("follow.keys", "is missing", hint="list the public keys, in PEM, that may sign the list")
    sections: dict[str, Mapping[str, Any]] = {kind: top.take(kind) for kind in evidence.sections}
    if not sections:
        raise wrong("", "accepts no TEE", hint=f"add a table for one, such as [{next(iter(NAMING))}]")
    known = tuple(combine(image, sections, wrong, f"images[{place}]") for place, image in enumerate(images))
    if release.minimum_epoch and not (known or follows):
        reason = "needs images, which have epochs, in the policy or in a list that it follows"
        raise wrong("release.minimum-epoch", reason)
    for kind, values in sections.items():
        _require_bound(kind, values, known, release, follows=follows, wrong=wrong)
    return WorkloadPolicy(
        name=evidence.name,
        digest=digest,
        evidence=replace(evidence, name=f"{evidence.name} ({digest[:16]})", report_data_required=True),
        release=release,
        images=known,
        follows=follows,
        keys=keys,
        sections=sections,
    )


def wrong_policy(what: str) -> Any:
    """Return the maker of errors about a policy."""

    def wrong(where: str, reason: str, *, hint: str | None = None) -> InvalidPolicy:
        return InvalidPolicy(what, where, reason, hint=hint)

    return wrong


def _table(data: bytes, what: str) -> Table:
    wrong = wrong_policy(what)
    if len(data) > MAX_BYTES:
        raise wrong("", f"it has {len(data)} bytes; at most {MAX_BYTES} are read")
    if data.lstrip().startswith(b"{"):
        try:
            return Table(loads(data, what), wrong)
        except InvalidManifest as exc:
            raise wrong("", exc.reason) from exc
    try:
        return parse_toml(data.decode(), wrong)
    except UnicodeDecodeError as exc:
        raise wrong("", "is not UTF-8") from exc


def _release(table: Table) -> Release:
    found = Release(
        releases=table.number("releases", None, MOST_RELEASES) if table.has("releases") else None,
        minimum_epoch=table.number("minimum-epoch", 0, MOST_EPOCH),
        not_before=read_time(table, "not-before"),
        not_after=read_time(table, "not-after"),
        evidence_seconds=table.number("evidence-seconds", 300, _DAY, least=1),
        v0=table.flag("v0", default=False),
        any_measurement=table.flag("any-measurement", default=False),
    )
    table.end()
    if found.not_before and found.not_after and found.not_before > found.not_after:
        raise table.wrong("not-after", "is before not-before: no key would ever be released")
    return found


def read_time(table: Table, name: str) -> datetime | None:
    """Read a time: TOML's own, or RFC 3339 as text; None where it is absent. It has an offset from UTC.

    Raises:
        Exception: as the table makes it.
    """
    value = table.take(name)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = 0
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise table.wrong(name, "expected a time with its offset from UTC", hint="for example: 2026-01-31T12:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as exc:
        raise table.wrong(name, "is out of range") from exc


def _require_bound(
    kind: str, values: Mapping[str, Any], known: tuple[Known, ...], release: Release, *, follows: bool, wrong: Any
) -> None:
    """Require that a kind's evidence names the workload, and what booted: else any guest would get the key."""
    naming = NAMING.get(kind)
    if naming is None:
        raise wrong(kind, "evidence of this kind names no workload: no key can be released to it")
    mine = [each for each in known if kind in each.whole]
    if naming.binding not in values and not mine and not follows:
        hint = f'add {naming.binding} to [{kind}], or [[images]] with their bindings; "haulout cw build --policy" does'
        raise wrong(f"{kind}.{naming.binding}", "is missing: any workload would get the key", hint=hint)
    if mine or follows:
        _require_measured(kind, values, mine, release, wrong)
        return
    for group in () if release.any_measurement else naming.demanded:
        if not any(key in values for key in group):
            raise wrong(f"{kind}.{group[0]}", _UNMEASURED, hint=_measure(kind, group))


def _require_measured(
    kind: str, values: Mapping[str, Any], images: Iterable[Known], release: Release, wrong: Any
) -> None:
    """Require that each image says what of it is measured, where the policy's section does not."""
    if release.any_measurement:
        return
    for group in NAMING[kind].demanded:
        for each in images:
            listed = {*values, *each.image.measured.get(kind, {})}
            if kind in each.whole and not listed.intersection(group):
                where = f"images ({each.image.name or f'epoch {each.image.epoch}'}).{kind}.{group[0]}"
                raise wrong(where, _UNMEASURED, hint=_measure(kind, group))


def _measure(kind: str, group: tuple[str, ...]) -> str:
    key = group[0] if len(group) == 1 else f"one of {group[0]} to {group[-1]}"
    return f"list {key} in [{kind}] or in each image; or, for tests, any-measurement = true in [release]"
