"""What Intel publishes: the state of each type of platform, the identity of the quoting enclave, revocation lists.

Each is kept as a part of the collateral file that :mod:`.collateral` reads, under the same names: put together, the
four parts are that file.

Source: Intel, PCS API version 4: "Get TCB Info", "Get TD QE Identity", "Get Revocation List". ``update=early`` asks for
the documents of the next TCB recovery, which are in force some weeks later.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cryptography.x509.oid import NameOID

from haulout.errors import InvalidEvidence, InvalidManifest
from haulout.oci import loads
from haulout.tee import certificates as x509
from haulout.tee.chains import is_signed_by
from haulout.tee.inputs import Given
from haulout.tee.revocation import RevocationList, require_list
from haulout.tee.roots import anchor
from haulout.tee.tdx import collateral, documents, pck
from haulout.tee.verdict import Refused, Rule, Span

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from haulout.tee.certificates import Certificate
    from haulout.tee.tdx.parse import TdxQuote

SERVICE: Final = "https://api.trustedservices.intel.com"
ROOT_LIST: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
AUTHORITIES: Final = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}
_SIGNED: Final = re.compile(rb'\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*\Z')
_HEX: Final = re.compile(rb"[0-9a-fA-F]+")
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Document:
    """A signed JSON document; ``part`` is its name in a collateral file, ``member`` in Intel's answer."""

    early: bool = False

    renewed: ClassVar = True
    above: ClassVar = None
    part: ClassVar[str]
    member: ClassVar[bytes]

    def kept(self, body: bytes, chain: bytes) -> bytes:
        """Cut out the very bytes that are signed."""
        text, signature = _signed(body, self.member, type(self).__name__)
        return _write(
            {
                self.part: text.decode(),
                f"{self.part}_signature": signature.decode(),
                f"{self.part}_issuer_chain": _chain_text(chain),
            }
        )

    def _query(self) -> str:
        return "update=early" if self.early else "update=standard"

    def _folder(self) -> str:
        return "intel/early" if self.early else "intel"

    def _announced(self) -> str:
        return ", as announced" if self.early else ""

    def _verified(self, data: bytes, title: str, at: datetime, trusted: Collection[str], *, test: bool) -> bytes:
        part = collateral.Part.read(data, self.part, title)
        path = part.path(title, at)
        anchor(path[-1], "Intel", trusted=trusted, test=test)
        part.require_signed(title, path[0])
        return part.content


@dataclass(frozen=True, slots=True)
class TcbInfo(_Document):
    """The TCB info of one type of platform, named by its FMSPC."""

    fmspc: bytes = b""

    part: ClassVar = "tcb_info"
    member: ClassVar = b"tcbInfo"
    chain_header: ClassVar = "TCB-Info-Issuer-Chain"

    @property
    def name(self) -> str:
        """Return the path of its file."""
        return f"{self._folder()}/tcb-info/{self.fmspc.hex()}.json"

    @property
    def title(self) -> str:
        """Return what it is."""
        return f"Intel's TCB info of platform {self.fmspc.hex()}{self._announced()}"

    @property
    def address(self) -> str:
        """Return its URL."""
        return f"{SERVICE}/tdx/certification/v4/tcb?fmspc={self.fmspc.hex()}&{self._query()}"

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that Intel signed it, for this platform, and that it is current."""
        found = documents.tcb_info(self._verified(data, self.title, at, trusted, test=test))
        if found.fmspc != self.fmspc:
            raise Refused(Rule.PLATFORM, f"it is for platform {found.fmspc.hex()}")
        return _current(self.title, found.issued, found.next_update, at)


@dataclass(frozen=True, slots=True)
class QeIdentity(_Document):
    """The identity of the quoting enclave."""

    part: ClassVar = "qe_identity"
    member: ClassVar = b"enclaveIdentity"
    chain_header: ClassVar = "SGX-Enclave-Identity-Issuer-Chain"

    @property
    def name(self) -> str:
        """Return the path of its file."""
        return f"{self._folder()}/qe-identity.json"

    @property
    def title(self) -> str:
        """Return what it is."""
        return f"Intel's identity of the quoting enclave{self._announced()}"

    @property
    def address(self) -> str:
        """Return its URL."""
        return f"{SERVICE}/tdx/certification/v4/qe/identity?{self._query()}"

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that Intel signed it, and that it is current."""
        found = documents.qe_identity(self._verified(data, self.title, at, trusted, test=test))
        return _current(self.title, found.issued, found.next_update, at)


@dataclass(frozen=True, slots=True)
class PckList:
    """The revocation list of one of the two authorities that certify platforms: ``platform`` or ``processor``."""

    authority: str

    renewed: ClassVar = True
    above: ClassVar = None
    chain_header: ClassVar = "SGX-PCK-CRL-Issuer-Chain"

    @property
    def name(self) -> str:
        """Return the path of its file."""
        return f"intel/pck-crl/{self.authority}.json"

    @property
    def title(self) -> str:
        """Return what it is."""
        return f"Intel's revocation list of its PCK {self.authority} authority"

    @property
    def address(self) -> str:
        """Return its URL."""
        return f"{SERVICE}/sgx/certification/v4/pckcrl?ca={self.authority}&encoding=der"

    def kept(self, body: bytes, chain: bytes) -> bytes:
        """Keep list and chain."""
        return _write({"pck_crl": body.hex(), "pck_crl_issuer_chain": _chain_text(chain)})

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:  # noqa: ARG002
        """Verify that the authority signed it, and Intel's root the authority."""
        listed, given = collateral.read_pck_list(data, self.title)
        issuer = next((one for one in given if one.subject == listed.issuer), None)
        if issuer is None or AUTHORITIES.get(issuer.common_name) != self.authority:
            raise Refused(Rule.COLLATERAL, f"it is not the list of the {self.authority} authority")
        root = next((one for one in given if one.subject == issuer.issuer and is_signed_by(issuer, one)), issuer)
        anchor(root, "Intel", trusted=trusted, test=test)
        for one in (issuer, root):
            x509.require_valid(one, at)
        return _span(listed, issuer, at)


@dataclass(frozen=True, slots=True)
class RootList:
    """The revocation list of Intel's root."""

    renewed: ClassVar = True
    chain_header: ClassVar = ""
    name: ClassVar = "intel/root-crl.json"
    title: ClassVar = "Intel's revocation list of its root"
    address: ClassVar = ROOT_LIST
    above: ClassVar = QeIdentity()

    def kept(self, body: bytes, chain: bytes) -> bytes:  # noqa: ARG002 - it comes without
        """Keep the list."""
        # A PCCS answers in hexadecimal.
        return _write({"root_ca_crl": body.decode() if _HEX.fullmatch(body) else body.hex()})

    def check(self, data: bytes, above: bytes, at: datetime, trusted: Collection[str], *, test: bool) -> Span:
        """Verify that Intel's root signed it."""
        listed = collateral.read_root_list(data, self.title)
        root = collateral.Part.read(above, QeIdentity.part, QeIdentity().title).path(QeIdentity().title, at)[-1]
        anchor(root, "Intel", trusted=trusted, test=test)
        if listed.issuer != root.subject:
            raise Refused(Rule.COLLATERAL, f"it is not the list of {root.common_name!r}")
        return _span(listed, root, at)


Published = TcbInfo | QeIdentity | PckList | RootList


def needs(quote: TdxQuote, *, early: bool = False) -> tuple[Published, ...]:
    """Name the four parts of the collateral that a quote is verified with."""
    leaf, authority = _platform(quote)
    return TcbInfo(early, pck.read(leaf).fmspc), QeIdentity(early), PckList(authority), RootList()


def _platform(quote: TdxQuote) -> tuple[Certificate, str]:
    for one in x509.read_bundle(quote.pck_chain, "chain of certificates in the quote"):
        authority = AUTHORITIES.get(x509.single(one.issuer, NameOID.COMMON_NAME))
        if authority is not None:
            return one, authority
    raise Refused(Rule.CERTIFICATE_ROLE, "the quote holds no certificate of an Intel platform")


def merged(parts: Sequence[Given]) -> Given:
    """Put parts together to the one collateral file that the verifier takes."""
    found: dict[str, Any] = {}
    for one in parts:
        found |= loads(one.data, one.name, largest=_LARGEST)
    return Given("Intel's collateral", _write(found))


def identify(data: bytes, what: str, *, early: bool) -> list[tuple[Published, bytes]]:
    """Say which parts of collateral a file holds."""
    try:
        values = loads(data, what, largest=_LARGEST)
    except InvalidManifest as exc:
        raise InvalidEvidence(what, exc.reason) from exc
    found: list[tuple[Published, bytes]] = []

    def part(publication: Published, *names: str) -> None:
        found.append((publication, _write({name: values[name] for name in names})))

    def signed(name: str) -> tuple[str, str, str]:
        return name, f"{name}_signature", f"{name}_issuer_chain"

    if all(isinstance(values.get(name), str) for name in signed("tcb_info")):
        part(TcbInfo(early, documents.tcb_info(values["tcb_info"].encode()).fmspc), *signed("tcb_info"))
    if all(isinstance(values.get(name), str) for name in signed("qe_identity")):
        part(QeIdentity(early), *signed("qe_identity"))
    if {"pck_crl", "pck_crl_issuer_chain"} <= set(values):
        listed, _ = collateral.read_pck_list(
            _write({name: values[name] for name in ("pck_crl", "pck_crl_issuer_chain")}), what
        )
        authority = AUTHORITIES.get(x509.single(listed.issuer, NameOID.COMMON_NAME))
        if authority is not None:
            part(PckList(authority), "pck_crl", "pck_crl_issuer_chain")
    if "root_ca_crl" in values:
        part(RootList(), "root_ca_crl")
    return found


def _current(title: str, issued: datetime, until: datetime, at: datetime) -> Span:
    collateral.require_current(title, issued, until, at)
    return Span(issued, until)


def _span(listed: RevocationList, issuer: Certificate, at: datetime) -> Span:
    require_list(listed, issuer, at)
    assert listed.next_update is not None
    return Span(listed.this_update, listed.next_update)


def _signed(body: bytes, member: bytes, what: str) -> tuple[bytes, bytes]:
    """Return a document as the bytes that it was sent as, and its signature in hexadecimal."""
    begin = re.match(rb'\s*\{\s*"' + member + rb'"\s*:\s*', body)
    end = _SIGNED.search(body)
    if begin is None or end is None:
        raise InvalidEvidence(what, f"the answer is not an object of {member.decode()!r} and 'signature'")
    content = body[begin.end() : end.start()]
    try:
        content.decode()
    except UnicodeDecodeError as exc:
        raise InvalidEvidence(what, "the answer is not text") from exc
    return content, end[1]


def _chain_text(chain: bytes) -> str:
    try:
        return chain.decode("ascii")
    except UnicodeDecodeError as exc:
        raise InvalidEvidence("certificates", "the chain that came with the answer is not PEM") from exc


def _write(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode()
