"""What a verifier answers: claims that hold, or a refusal that names its rule.

A refusal is not an error: it is the answer "no". An error (:class:`~haulout.errors.InvalidEvidence`) says that the
bytes cannot be read, so that there is no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from haulout.documents import Document


class Rule(StrEnum):
    """Every rule that evidence can break. The names are stable: scripts and logs may rely on them."""

    # Genuineness: judged always, without a policy as well.
    FORMAT_VERSION = "format-version"
    RESERVED = "reserved"
    SIGNATURE_ALGORITHM = "signature-algorithm"
    SIGNATURE_ENCODING = "signature-encoding"
    SIGNATURE = "signature"
    CERTIFICATE_MISSING = "certificate-missing"
    CERTIFICATE_ROLE = "certificate-role"
    CERTIFICATE_EXTENSION = "certificate-extension"
    CERTIFICATE_VALIDITY = "certificate-validity"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CHAIN = "chain"
    ROOT = "root"
    TEST_ROOT = "test-root"
    PRODUCT = "product"
    CHIP = "chip"
    TCB_CERTIFICATE = "tcb-certificate"
    QE_VENDOR = "qe-vendor"
    QE_BINDING = "qe-binding"
    QE_IDENTITY = "qe-identity"
    COLLATERAL = "collateral"
    COLLATERAL_VALIDITY = "collateral-validity"
    PLATFORM = "platform"
    TDX_MODULE = "tdx-module"
    TCB_LEVEL = "tcb-level"
    TCB_REVOKED = "tcb-revoked"
    PROFILE = "profile"
    REALM_KEY = "realm-key"
    KEY_ATTRIBUTES = "key-attributes"
    PCR_DIGEST = "pcr-digest"
    ENROLMENT = "enrolment"
    RUNTIME_DATA = "runtime-data"
    TPM_QUOTE = "tpm-quote"
    # What the caller expects of this one piece of evidence.
    REPORT_DATA = "report-data"
    FRESHNESS = "freshness"
    # What a policy demands.
    TEE = "tee"
    PRODUCT_NOT_ALLOWED = "product-not-allowed"
    VERSION_NOT_ALLOWED = "version-not-allowed"
    SIGNER_NOT_ALLOWED = "signer-not-allowed"
    CHIP_NOT_ALLOWED = "chip-not-allowed"
    DEBUG = "debug"
    MIGRATION = "migration"
    GUEST_POLICY = "guest-policy"
    SMT = "smt"
    PLATFORM_INFO = "platform-info"
    MITIGATION = "mitigation"
    VMPL = "vmpl"
    TCB_ORDER = "tcb-order"
    TCB_FLOOR = "tcb-floor"
    TCB_STATUS = "tcb-status"
    EVALUATION_NUMBER = "evaluation-number"
    REVOCATION_LIST = "revocation-list"
    MEASUREMENT = "measurement"
    WORKLOAD = "workload"
    GUEST_SVN = "guest-svn"
    ID_KEY = "id-key"
    AUTHOR_KEY = "author-key"
    TD_ATTRIBUTES = "td-attributes"
    XFAM = "xfam"
    OWNER = "owner"
    LIFECYCLE = "lifecycle"
    INSTANCE = "instance"
    IMPLEMENTATION = "implementation"


@dataclass(frozen=True, slots=True)
class Refusal(Document):
    """The answer "no".

    Attributes:
        rule: what was broken.
        reason: one line for people.
        hint: the way out, if there is one.
    """

    rule: Rule
    reason: str
    hint: str | None = None


class Refused(Exception):  # noqa: N818  (it carries an answer out of nested checks, and never leaves this room)
    """A rule is broken; verifiers turn it into their answer."""

    def __init__(self, rule: Rule, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.refusal = Refusal(rule, reason, hint)


@dataclass(frozen=True, slots=True)
class Anchor:
    """The root that a chain ends in, or a key that is trusted without a chain.

    Attributes:
        name: for people.
        vendor: whose root it is: ``AMD``, ``Intel``, ``Arm``.
        product: the only product line that it is for, or "" for any.
        fingerprint: SHA-256 of the DER certificate or key, 64 hexadecimal digits.
        test: whether it is a root that a test policy added.
        given: whether it is trusted only because the caller gave it.
    """

    name: str
    vendor: str
    product: str
    fingerprint: str
    test: bool = False
    given: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when something holds: what was issued later replaces it."""

    issued: datetime
    until: datetime


class Statement(Protocol):
    """What evidence says of itself, true or not."""

    @property
    def report_data(self) -> bytes:
        """Return the 64 bytes that the guest chose."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as docs/json.md shows it."""


class Claims(Protocol):
    """What genuine evidence says, and who signed it."""

    @property
    def anchor(self) -> Anchor:
        """Return the root that its chain ends in."""

    def to_dict(self) -> dict[str, Any]:
        """Return where it comes from in JSON, as docs/json.md shows it."""


ORIGIN = ("root=anchor.name", "root_fingerprint=anchor.fingerprint", "test_root=anchor.test")
"""Members that the JSON of all claims begins with."""


@dataclass(frozen=True, slots=True)
class Verdict(Document):
    """The answer.

    Attributes:
        kind: name of the kind of TEE.
        title: what such evidence is called.
        statement: what the evidence says of itself, true or not.
        claims: the same, once it is known to be genuine; None where it is not.
        refusal: why it is not accepted; None where it is.
        policy: the policy's name; None where only genuineness was verified.
        at: the time for which it was verified.
        open: what the policy left open.
        warning: where there is no policy, what the strictest one would object to first.
    """

    kind: str
    title: str
    statement: Statement
    claims: Claims | None
    refusal: Refusal | None
    policy: str | None
    at: datetime
    open: tuple[str, ...] = ()
    warning: Refusal | None = None

    json_members: ClassVar = (
        "kind",
        "verdict=word",
        "rule=refusal.rule",
        "reason=refusal.reason",
        "hint=refusal.hint",
        "genuine",
        "policy",
        "at=stamp",
        "open",
        "beware",
        "origin=claims",
        "claims=statement",
    )

    @property
    def accepted(self) -> bool:
        """Return whether it may be relied on."""
        return self.refusal is None

    @property
    def word(self) -> str:
        """Return the answer in one word: ``accepted`` or ``refused``."""
        return "accepted" if self.accepted else "refused"

    @property
    def genuine(self) -> bool:
        """Return whether the TEE made it, whatever a policy says."""
        return self.claims is not None

    @property
    def stamp(self) -> str:
        """Return the time for which it was verified, as text."""
        return stamp(self.at)

    @property
    def beware(self) -> dict[str, str] | None:
        """Return the warning as JSON has it."""
        return None if self.warning is None else {"rule": self.warning.rule, "reason": self.warning.reason}


def stamp(when: datetime) -> str:
    """Write a time for people and programs: RFC 3339, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
