"""The decision: does this evidence get this workload's key, now? Pure, and the same whatever the order of lists.

Rules are judged in one order, and the first that is broken is the one that is named: whether the evidence is genuine
and says what the policy demands (:func:`haulout.tee.verify`), then the rules of :class:`ReleaseRule` in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from haulout.documents import Document
from haulout.tee import KINDS, objection, stamp

if TYPE_CHECKING:
    from datetime import datetime

    from haulout.broker.policy.document import WorkloadPolicy
    from haulout.broker.policy.images import Known
    from haulout.tee import Refusal, Verdict

_KINDS: Final = {kind.name: kind for kind in KINDS}
ALLOWED: Final = "allowed"
"""Rule of a decision that allows."""


class ReleaseRule(StrEnum):
    """Rules besides those of evidence (:class:`haulout.tee.Rule`). The names are stable."""

    POLICY_CHANGED = "policy-changed"
    PROTOCOL = "protocol"
    EVIDENCE_AGE = "evidence-age"
    NOT_BEFORE = "not-before"
    NOT_AFTER = "not-after"
    RELEASES = "releases"
    LIST_MISSING = "list-missing"
    EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the evidence.

    Attributes:
        now: the time, with a time zone.
        verified: when the evidence was verified.
        releases: how often this workload's key was released so far.
        v0: whether the guest speaks the protocol of libkrun up to 1.19.
    """

    now: datetime
    verified: datetime
    releases: int
    v0: bool = False


@dataclass(frozen=True, slots=True)
class Decision(Document):
    """The answer.

    Attributes:
        allowed: whether the key may leave.
        rule: ``allowed``, or the one rule that is broken.
        words: one line for people: what is asked, and what there is.
        hint: the way out, if there is one.
        policy: SHA-256 of the policy's document.
        image: name of the image that booted, where the policy has images.
        epoch: of that image; the newest, where several are the same.
    """

    allowed: bool
    rule: str
    words: str
    hint: str | None
    policy: str
    image: str | None = None
    epoch: int | None = None

    json_members: ClassVar = ("allowed", "rule", "words", "hint", "policy", "image", "epoch")


def decide(policy: WorkloadPolicy, verdict: Verdict, facts: Facts) -> Decision:
    """Decide about a release.

    Args:
        policy: the workload's, with the list that it follows.
        verdict: on the guest's evidence, by ``policy.evidence`` and with the report data that the guest was asked for.
        facts: what else counts.

    Raises:
        ValueError: a time has no time zone.
    """
    broken = _broken_by_evidence(policy, verdict) or _broken_by_facts(policy, facts)
    if broken is not None:
        return _refused(policy, *broken)
    if not (policy.images or policy.follows):
        return Decision(True, ALLOWED, "the evidence satisfies the policy", None, policy.digest)
    return _by_image(policy, verdict)


def _broken_by_evidence(policy: WorkloadPolicy, verdict: Verdict) -> tuple[str, str, str | None] | None:
    if verdict.policy != policy.evidence.name:
        reason = f"the evidence was verified by the policy {verdict.policy}; now it is {policy.evidence.name}"
        return ReleaseRule.POLICY_CHANGED, reason, "attest again"
    return None if verdict.refusal is None else _told(verdict.refusal)


def _broken_by_facts(policy: WorkloadPolicy, facts: Facts) -> tuple[str, str, str | None] | None:
    if facts.now.tzinfo is None or facts.verified.tzinfo is None:
        raise ValueError("the time must have a time zone")
    release = policy.release
    age = (facts.now - facts.verified).total_seconds()
    if facts.v0 and not release.v0:
        reason = "the guest speaks protocol v0; the policy allows 0.4.0 alone"
        return ReleaseRule.PROTOCOL, reason, "use a guest of haulout, or say v0 = true in [release]"
    # A clock that went back makes no evidence valid for longer.
    if not 0 <= age <= release.evidence_seconds:
        reason = f"the evidence was verified {age:.0f} seconds ago; the policy allows {release.evidence_seconds}"
        return ReleaseRule.EVIDENCE_AGE, reason, "attest again"
    if release.not_before is not None and facts.now < release.not_before:
        reason = f"the policy allows releases from {release.begin}; it is {stamp(facts.now)}"
        return ReleaseRule.NOT_BEFORE, reason, None
    if release.not_after is not None and facts.now > release.not_after:
        reason = f"the policy allows releases until {release.end}; it is {stamp(facts.now)}"
        return ReleaseRule.NOT_AFTER, reason, "set a policy with a later not-after"
    if release.releases is not None and facts.releases >= release.releases:
        reason = f"the policy allows {_count(release.releases)}; {facts.releases} were made"
        return ReleaseRule.RELEASES, reason, "set a policy with more releases"
    if policy.follows and policy.listed is None:
        reason = "the policy follows a signed list of images, and none was taken yet"
        return ReleaseRule.LIST_MISSING, reason, "haulout broker workload follow"
    return None


def _by_image(policy: WorkloadPolicy, verdict: Verdict) -> Decision:
    """Find the image that booted: its binding is in the evidence, its epoch counts, and it was measured."""
    kind = _KINDS[verdict.kind]
    known = sorted(policy.images, key=lambda each: each.image.order)

    def against(each: Known, *, whole: bool) -> Refusal | None:
        assert verdict.claims is not None  # it was accepted
        return objection(kind, verdict.claims, (each.whole if whole else each.bound)[kind.name])

    named = [(each, against(each, whole=False)) for each in known if kind.name in each.bound]
    bound = [each for each, refusal in named if refusal is None]
    if not bound:
        newest = next((refusal for _, refusal in named if refusal is not None), None)
        reason = f"the policy has no image for {kind.title}s" if newest is None else newest.reason
        return _refused(policy, "workload", f"{reason}: it is none of its {_count(len(known), 'image')}", None)
    current = [each for each in bound if each.image.epoch >= policy.minimum_epoch]
    if not current:
        reason = f"the image has epoch {bound[0].image.epoch}; the policy requires at least {policy.minimum_epoch}"
        return _refused(policy, ReleaseRule.EPOCH, reason, "boot a newer image")
    judged = [(each, against(each, whole=True)) for each in current]
    for each, refusal in judged:
        if refusal is None:
            name, epoch = each.image.name, each.image.epoch
            words = f"the evidence satisfies the policy; it is the image {name or 'without a name'}, epoch {epoch}"
            return Decision(True, ALLOWED, words, None, policy.digest, name, epoch)
    refusal = next(refusal for _, refusal in judged if refusal is not None)
    return _refused(policy, *_told(refusal))


def _told(refusal: Refusal) -> tuple[str, str, str | None]:
    return str(refusal.rule), refusal.reason, refusal.hint


def _refused(policy: WorkloadPolicy, rule: str, words: str, hint: str | None) -> Decision:
    return Decision(False, str(rule), words, hint, policy.digest)


def _count(number: int, what: str = "release") -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
