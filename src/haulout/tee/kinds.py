"""The table of TEE kinds: one row for each, one folder behind each row.

A new TEE is a folder beside ``snp``, ``tdx``, ``cca`` and ``tpm``, and a row in :data:`KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from haulout.errors import InvalidEvidence
from haulout.tee.cca import genuine as cca
from haulout.tee.cca import parse as cca_token
from haulout.tee.cca import rules as cca_rules
from haulout.tee.snp import genuine as snp
from haulout.tee.snp import parse as snp_report
from haulout.tee.snp import rules as snp_rules
from haulout.tee.tdx import genuine as tdx
from haulout.tee.tdx import parse as tdx_quote
from haulout.tee.tdx import rules as tdx_rules
from haulout.tee.tdx import shortfall as tdx_shortfall
from haulout.tee.tpm import genuine as tpm
from haulout.tee.tpm import parse as tpm_quote
from haulout.tee.tpm import rules as tpm_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from haulout.local import Table
    from haulout.tee.inputs import Given, Inputs
    from haulout.tee.shortfall import Shortfall
    from haulout.tee.verdict import Claims, Statement

S = TypeVar("S", bound="Statement")
C = TypeVar("C", bound="Claims")
P = TypeVar("P")

MAX_BYTES: Final = 1 << 20
"""Bytes of evidence read; the largest known has 16 KB."""


WRAPPED: Final = "binary, or in hexadecimal, base64, JSON, protobuf, or Azure's HCL report"
"""What :mod:`.wrappings` opens."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[S, C, P]):
    """A row: everything the verifier knows about one kind of TEE. All functions are pure.

    Attributes:
        name: its word in policies, options and JSON: ``snp``.
        title: what its evidence is called: ``SEV-SNP report``.
        recognise: says whether bytes are such evidence; raises InvalidEvidence where they are, but cut short.
        parse: bytes → what the evidence says of itself, unverified; raises InvalidEvidence.
        genuine: verifies signature and chain; returns what can then be relied on; raises Refused.
        policy: reads this kind's section of a policy document.
        strict: the section with which evidence is compared where there is no policy.
        require: refuses genuine evidence that breaks the section; returns the names of what the section leaves open.
        shortfalls: names the security versions that are too low by the section and by some collateral.
        suits: says whether some collateral is about the platform of genuine evidence.
        machine: names the machine that made genuine evidence, the same each time; "" where it does not tell.
    """

    name: str
    title: str
    recognise: Callable[[bytes], bool]
    parse: Callable[[bytes], S]
    genuine: Callable[[S, Inputs[P]], C]
    policy: Callable[[Table], P]
    strict: P
    require: Callable[[C, P], tuple[str, ...]]
    shortfalls: Callable[[C, P, Sequence[Given]], tuple[Shortfall, ...]] = lambda _claims, _section, _collateral: ()
    suits: Callable[[C, Given], bool] = lambda _claims, _given: False
    machine: Callable[[C], str] = lambda _claims: ""

    def __str__(self) -> str:
        return self.name


KINDS: Final[tuple[Kind[Any, Any, Any], ...]] = (
    Kind(
        name="cca",
        title="Arm CCA token",
        recognise=cca_token.recognise,
        parse=cca_token.parse,
        genuine=cca.genuine,
        policy=cca_rules.read_policy,
        strict=cca_rules.CcaPolicy(),
        require=cca_rules.require,
        machine=cca_rules.machine,
    ),
    Kind(
        name="tdx",
        title="TDX quote",
        recognise=tdx_quote.recognise,
        parse=tdx_quote.parse,
        genuine=tdx.genuine,
        policy=tdx_rules.read_policy,
        strict=tdx_rules.STRICT,
        require=tdx_rules.require,
        shortfalls=tdx_shortfall.shortfalls,
        suits=tdx_shortfall.suits,
        machine=tdx_rules.machine,
    ),
    Kind(
        name="tpm",
        title="TPM quote",
        recognise=tpm_quote.recognise,
        parse=tpm_quote.parse,
        genuine=tpm.genuine,
        policy=tpm_rules.read_policy,
        strict=tpm_rules.STRICT,
        require=tpm_rules.require,
        machine=tpm_rules.machine,
    ),
    # Recognised by its length: after those that have a mark.
    Kind(
        name="snp",
        title="SEV-SNP report",
        recognise=snp_report.recognise,
        parse=snp_report.parse,
        genuine=snp.genuine,
        policy=snp_rules.read_policy,
        strict=snp_rules.STRICT,
        require=snp_rules.require,
        shortfalls=snp_rules.shortfalls,
        machine=snp_rules.machine,
    ),
)
"""The kinds that are known, in the order in which evidence is recognised."""


def recognise(data: bytes, kinds: Iterable[Kind[Any, Any, Any]] = KINDS) -> Kind[Any, Any, Any]:
    """Return the kind of TEE that made some evidence, by its bytes alone.

    Raises:
        InvalidEvidence: it is of no known kind, or cut short.
    """
    if not data:
        raise InvalidEvidence("evidence", "it is empty")
    if len(data) > MAX_BYTES:
        raise InvalidEvidence("evidence", f"it has {len(data)} bytes; at most {MAX_BYTES} are read")
    kinds = tuple(kinds)
    for kind in kinds:
        if kind.recognise(data):
            return kind
    hint = f"known: {', '.join(kind.title for kind in kinds)}; {WRAPPED}"
    if data.lstrip()[:1] in {b"{", b"["} or data.startswith(b"-----BEGIN"):
        raise InvalidEvidence("evidence", "it is JSON or PEM, and no known evidence is in it", hint=hint)
    raise InvalidEvidence("evidence", "its format is not known", hint=hint)
