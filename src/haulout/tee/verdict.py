"""What a verifier answers: claims that hold, or a refusal that names its rule.

A refusal is no error: it is the answer "no". An error (:class:`~haulout.errors.InvalidEvidence`) says that the bytes
are no evidence at all, so that there is nothing to answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Whose evidence it is."""

    SNP = "snp"
    TDX = "tdx"
    CCA = "cca"


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
class Refusal:
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
