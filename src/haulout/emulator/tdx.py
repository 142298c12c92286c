"""An emulated Intel platform: root, platform CA, PCK, quoting enclave, quotes, and the collateral about all of it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from haulout.emulator import authorities, der
from haulout.emulator.bundle import Evidence, listed
from haulout.tee import der as asn1
from haulout.tee import stamp
from haulout.tee.tdx import parse as quote
from haulout.tee.tdx import pck

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from haulout.emulator.authorities import Authority
    from haulout.emulator.boot import Boot

FMSPC: Final = bytes.fromhex("90c06f000000")
COMPONENTS: Final = (4, 4, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
PCE_SVN: Final = 13
TEE_TCB_SVN: Final = bytes((6, 1, 4)) + bytes(13)
MRSIGNER: Final = hashlib.sha256(b"haulout emulator: quoting enclave").digest()
QE_ATTRIBUTES: Final = bytes.fromhex("1500000000000000e700000000000000")
_QE_MASK: Final = "FBFFFFFFFFFFFFFF0000000000000000"
SEPT_VE_DISABLE: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class TdxState:
    """What a quote says, besides measurement and report data."""

    version: int = 4
    body: int = quote.TYPE_TD10
    key_type: int = quote.KEY_ECDSA_P256
    tee: int = quote.TEE_TDX
    vendor: bytes = quote.INTEL
    tee_tcb_svn: bytes = TEE_TCB_SVN
    mrsignerseam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    td_attributes: int = SEPT_VE_DISABLE
    xfam: int = 0x602E7
    mrconfigid: bytes = bytes(48)
    mrowner: bytes = bytes(48)
    mrownerconfig: bytes = bytes(48)
    mrservicetd: bytes = bytes(48)
    qe_attributes: bytes = QE_ATTRIBUTES
    qe_mrsigner: bytes = MRSIGNER
    qe_product: int = 2
    qe_svn: int = 6
    qe_report_data: bytes | None = None


@dataclass(frozen=True, slots=True)
class TdxEmulator:
    """An emulated platform, with everything above it."""

    root: Authority = field(repr=False)
    authority: Authority = field(repr=False)
    pck: Authority = field(repr=False)
    signer: Authority = field(repr=False)
    attestation_key: ec.EllipticCurvePrivateKey = field(repr=False)

    kind: ClassVar = "tdx"
    binding: ClassVar = 48

    @classmethod
    def make(cls, at: datetime) -> TdxEmulator:
        """Make a platform, with keys of its own."""
        root = authorities.issue("Intel SGX Root CA", authorities.p256_key(), at, authority=True, path_length=1)
        below = authorities.issue(
            "Intel SGX PCK Platform CA", authorities.p256_key(), at, issuer=root, authority=True, path_length=0
        )
        signer = authorities.issue("Intel SGX TCB Signing", authorities.p256_key(), at, issuer=root)
        return cls(root, below, certify(below, at), signer, authorities.p256_key())

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> TdxEmulator:
        """Read what the store wrote."""
        root, below, own, signer = (authorities.load(values[name]) for name in ("root", "authority", "pck", "signer"))
        return cls(root, below, own, signer, authorities.load_elliptic(values["attestation_key"]["key"]))

    def evidence(self, boot: Boot, at: datetime, report_data: bytes, workload: bytes) -> Evidence:
        """Make a quote, with its collateral, and what a policy says of it; ``workload`` is MRCONFIGID."""
        measurement = boot.mrtd()
        return Evidence(
            self.quote(report_data, boot, TdxState(mrconfigid=workload)),
            {"collateral.json": self.collateral(at)},
            measurement,
            (
                listed("mrtd", measurement),
                *(listed(f"rtmr{number}", value) for number, value in enumerate(boot.rtmr())),
                listed("mrconfigid", workload),
            ),
        )

    def chain(self) -> bytes:
        """Return the platform's chain in PEM, as quotes carry it."""
        return self.pck.pem() + self.authority.pem() + self.root.pem()

    def quote(self, report_data: bytes, boot: Boot, state: TdxState | None = None) -> bytes:
        """Sign a quote.

        Args:
            report_data: the 64 bytes that the guest chooses.
            boot: what the guest booted.
            state: what else the quote says.
        """
        given = state or TdxState()
        header = struct.pack(
            "<HHI4s16s20s", given.version, given.key_type, given.tee, bytes(4), given.vendor, bytes(20)
        )
        body = encode_body(report_data, boot, given)
        described = struct.pack("<HI", given.body, len(body)) if given.version >= 5 else b""
        signed = header + described + body
        point = self.attestation_key.public_key().public_numbers()
        key = point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
        authentication = bytes(range(32))
        bound = hashlib.sha256(key + authentication).digest() + bytes(32)
        enclave = encode_qe(given, bound if given.qe_report_data is None else given.qe_report_data)
        chain = self.chain() + b"\0"
        inner = (
            enclave
            + sign(self.pck.signing_key, enclave)
            + struct.pack("<H", len(authentication))
            + authentication
            + struct.pack("<HI", quote.CERTIFICATION_PCK_CHAIN, len(chain))
            + chain
        )
        signature = (
            sign(self.attestation_key, signed) + key + struct.pack("<HI", quote.CERTIFICATION_QE, len(inner)) + inner
        )
        return signed + struct.pack("<I", len(signature)) + signature

    def collateral(
        self,
        at: datetime,
        *,
        info: dict[str, Any] | None = None,
        identity: dict[str, Any] | None = None,
        revoked: tuple[int, ...] = (),
        revoked_authorities: tuple[int, ...] = (),
        signing_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> bytes:
        """Issue collateral: everything is up to date, for thirty days.

        Args:
            at: when it is issued.
            info: members of the TCB info to replace.
            identity: members of the QE identity to replace.
            revoked: serial numbers of PCK certificates to revoke.
            revoked_authorities: the same, of certificates that the root issued.
            signing_key: another key to sign the documents with.
        """
        key = signing_key or self.signer.signing_key
        tcb_info = json.dumps(default_info(at) | (info or {}), separators=(",", ":"))
        qe_identity = json.dumps(default_identity(at) | (identity or {}), separators=(",", ":"))
        issuers = (self.signer.pem() + self.root.pem()).decode()
        return json.dumps(
            {
                "tcb_info": tcb_info,
                "tcb_info_signature": sign(key, tcb_info.encode()).hex(),
                "tcb_info_issuer_chain": issuers,
                "qe_identity": qe_identity,
                "qe_identity_signature": sign(key, qe_identity.encode()).hex(),
                "qe_identity_issuer_chain": issuers,
                "root_ca_crl": authorities.revoke(self.root, revoked_authorities, at).hex(),
                "pck_crl": authorities.revoke(self.authority, revoked, at).hex(),
                "pck_crl_issuer_chain": (self.authority.pem() + self.root.pem()).decode(),
            }
        ).encode()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign with ECDSA on P-256: both numbers, big-endian."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def encode_body(report_data: bytes, boot: Boot, state: TdxState) -> bytes:
    """Write the report of the virtual machine."""
    body = (
        state.tee_tcb_svn
        + hashlib.sha384(b"haulout emulator: TDX module").digest()
        + state.mrsignerseam
        + state.seam_attributes
        + struct.pack("<QQ", state.td_attributes, state.xfam)
        + boot.mrtd()
        + state.mrconfigid
        + state.mrowner
        + state.mrownerconfig
        + b"".join(boot.rtmr())
        + report_data
    )
    return body + state.tee_tcb_svn + state.mrservicetd if state.body == quote.TYPE_TD15 else body


def encode_qe(state: TdxState, report_data: bytes) -> bytes:
    """Write the report of the quoting enclave."""
    report = bytearray(quote.QE_REPORT)
    report[:16] = bytes(COMPONENTS)
    report[48:64] = state.qe_attributes
    report[64:96] = hashlib.sha256(b"haulout emulator: quoting enclave's code").digest()
    report[128:160] = state.qe_mrsigner
    struct.pack_into("<HH", report, 256, state.qe_product, state.qe_svn)
    report[320:384] = report_data
    return bytes(report)


def certify(issuer: Authority, at: datetime, *, extension: bytes | None = None, name: str = "") -> Authority:
    """Issue the certificate of a platform's key.

    Args:
        issuer: the platform CA.
        at: when it is issued.
        extension: what to say about the platform, instead of the default.
        name: another common name.
    """
    return authorities.issue(
        name or "Intel SGX PCK Certificate",
        authorities.p256_key(),
        at,
        issuer=issuer,
        extensions={pck.EXTENSION: platform_extension() if extension is None else extension},
    )


def platform_extension(*, fmspc: bytes = FMSPC, components: tuple[int, ...] = COMPONENTS) -> bytes:
    """Write the extension that describes a platform."""

    def pair(name: str, content: bytes) -> bytes:
        return der.sequence(der.name(name), content)

    parts = [pair(f"{pck.TCB}.{place}", der.integer(svn)) for place, svn in enumerate(components, 1)]
    tcb = der.sequence(*parts, pair(pck.PCESVN, der.integer(PCE_SVN)), pair(pck.CPUSVN, der.octets(bytes(components))))
    return der.sequence(
        pair(pck.PPID, der.octets(os.urandom(16))),
        pair(pck.TCB, tcb),
        pair(pck.PCEID, der.octets(bytes(2))),
        pair(pck.FMSPC, der.octets(fmspc)),
        # The type of platform: 0 and 1 are SGX's "standard" and "scalable".
        pair(f"{pck.EXTENSION}.5", der.integer(1, asn1.ENUMERATED)),
    )


def default_info(at: datetime) -> dict[str, Any]:
    """Return TCB info in which the emulated platform is up to date."""

    def level(components: tuple[int, ...], tdx: bytes, status: str) -> dict[str, Any]:
        return {
            "tcb": {
                "sgxtcbcomponents": [{"svn": svn} for svn in components],
                "pcesvn": PCE_SVN,
                "tdxtcbcomponents": [{"svn": svn} for svn in tdx],
            },
            "tcbDate": stamp(at - timedelta(days=90)),
            "tcbStatus": status,
        }

    seam = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    return {
        "id": "TDX",
        "version": 3,
        "issueDate": stamp(at - timedelta(days=1)),
        "nextUpdate": stamp(at + timedelta(days=30)),
        "fmspc": FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
        "tdxModule": seam,
        "tdxModuleIdentities": [
            {
                "id": "TDX_01",
                **seam,
                "tcbLevels": [
                    {"tcb": {"isvsvn": 6}, "tcbDate": stamp(at), "tcbStatus": "UpToDate"},
                    {"tcb": {"isvsvn": 2}, "tcbDate": stamp(at), "tcbStatus": "OutOfDate"},
                ],
            }
        ],
        "tcbLevels": [
            level(COMPONENTS, bytes((5, 0)) + TEE_TCB_SVN[2:], "UpToDate"),
            level((2, 2, 2, 2, 3, 1) + (0,) * 10, bytes((3, 0, 2)) + bytes(13), "OutOfDate"),
        ],
    }


def default_identity(at: datetime) -> dict[str, Any]:
    """Return the identity of the emulated quoting enclave."""
    return {
        "id": "TD_QE",
        "version": 2,
        "issueDate": stamp(at - timedelta(days=1)),
        "nextUpdate": stamp(at + timedelta(days=30)),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": _QE_MASK,
        "mrsigner": MRSIGNER.hex().upper(),
        "isvprodid": 2,
        "tcbLevels": [
            {"tcb": {"isvsvn": 4}, "tcbDate": stamp(at), "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 2}, "tcbDate": stamp(at), "tcbStatus": "OutOfDate"},
        ],
    }
