"""TPMs for tests: one written here, whose every field can be wrong, and Debian's swtpm, asked by tpm2-tools."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from tests.support.evidence import AT, DATA

from haulout.tee.tpm import endorsement, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ATTRIBUTES = 0x50072
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign."""
NUMBERS = {"sha256": 0x0B, "sha384": 0x0C, "sha512": 0x0D}
CURVES = {"secp256r1": 3, "secp384r1": 4, "secp521r1": 5}
_SCHEMES = {"rsassa": 0x14, "rsapss": 0x16, "ecdsa": 0x18}


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def sized(data: bytes) -> bytes:
    return u16(len(data)) + data


def public(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    attributes: int = ATTRIBUTES,
    scheme: str = "",
    hash_name: str = "sha256",
    name_hash_name: str = "sha256",
) -> bytes:
    """A public area, TPMT_PUBLIC."""
    numbers = key.public_key().public_numbers()
    kind = 0x01 if isinstance(numbers, rsa.RSAPublicNumbers) else 0x23
    chosen = u16(_SCHEMES[scheme]) + u16(NUMBERS[hash_name]) if scheme else u16(0x10)
    head = u16(kind) + u16(NUMBERS["sha256"]) + u32(attributes) + sized(b"") + u16(0x10) + chosen
    if isinstance(numbers, rsa.RSAPublicNumbers):
        size = (numbers.n.bit_length() + 7) // 8
        return head + u16(8 * size) + u32(0) + sized(numbers.n.to_bytes(size, "big"))
    size = (numbers.curve.key_size + 7) // 8
    return (
        head
        + u16(CURVES[numbers.curve.name])
        + u16(0x10)
        + sized(numbers.x.to_bytes(size, "big"))
        + sized(numbers.y.to_bytes(size, "big"))
    )


def selection(pcrs: Sequence[tuple[str, int]]) -> bytes:
    """A TPML_PCR_SELECTION."""
    banks = list(dict.fromkeys(bank for bank, _ in pcrs))
    found = u32(len(banks))
    for bank in banks:
        bits = sum(1 << number for one, number in pcrs if one == bank)
        found += u16(NUMBERS[bank]) + b"\3" + bits.to_bytes(3, "little")
    return found


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Quoted:
    """A TPM of our own, and what it would say: change a field, then call :meth:`evidence`."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(default_factory=ec_key)
    scheme: str = "ecdsa"
    hash_name: str = "sha256"
    attributes: int = ATTRIBUTES
    magic: bytes = b"\xffTCG"
    kind: int = 0x8018
    extra: bytes = DATA
    safe: int = 1
    pcrs: dict[tuple[str, int], bytes] = field(
        default_factory=lambda: {("sha256", number): bytes([number]) * 32 for number in (0, 4, 8, 9)}
    )
    digest: bytes | None = None
    signer: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None
    fixed: tuple[str, str] | None = None
    """Scheme and hash that the key is made for; None: any."""

    @property
    def public(self) -> bytes:
        scheme, hash_name = self.fixed or ("", "sha256")
        return public(self.key, attributes=self.attributes, scheme=scheme, hash_name=hash_name)

    @property
    def name(self) -> bytes:
        return u16(NUMBERS["sha256"]) + hashlib.sha256(self.public).digest()

    @property
    def attest(self) -> bytes:
        digest = (
            hashlib.new(self.hash_name, b"".join(self.pcrs.values())).digest() if self.digest is None else self.digest
        )
        clock = (123_456).to_bytes(8, "big") + u32(7) + u32(3) + bytes([self.safe])
        head = self.magic + u16(self.kind) + sized(u16(0x0B) + bytes(32)) + sized(self.extra) + clock
        return head + (0x2019).to_bytes(8, "big") + selection(list(self.pcrs)) + sized(digest)

    def signature(self, data: bytes) -> bytes:
        chosen = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[self.hash_name]
        head = u16(_SCHEMES[self.scheme]) + u16(NUMBERS[self.hash_name])
        key = self.signer or self.key
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(chosen)))
            size = (key.curve.key_size + 7) // 8
            return head + sized(r.to_bytes(size, "big")) + sized(s.to_bytes(size, "big"))
        salted = padding.PSS(padding.MGF1(chosen), padding.PSS.DIGEST_LENGTH)
        return head + sized(key.sign(data, salted if self.scheme == "rsapss" else padding.PKCS1v15(), chosen))

    def evidence(self, report_data: bytes = DATA) -> bytes:
        """The evidence."""
        attest = self.attest
        return parse.build(
            attest, self.signature(attest), self.public, tuple(self.pcrs.values()), report_data=report_data
        )


_CERTIFIED: dict[tuple[str, ...], bytes] = {}


@dataclass(frozen=True)
class Maker:
    """A maker of TPMs: root, and an authority below it."""

    root: x509.Certificate
    issuer: x509.Certificate
    key: rsa.RSAPrivateKey

    def certify(
        self,
        key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
        usage: str = endorsement.EK_USAGE,
        manufacturer: str = "id:48414F00",
    ) -> bytes:
        """A certificate of an endorsement or attestation key, in DER; the same each time."""
        asked = (self.fingerprint, endorsement.fingerprint(key), usage, manufacturer)
        if asked not in _CERTIFIED:
            _CERTIFIED[asked] = self._certify(key, usage, manufacturer)
        return _CERTIFIED[asked]

    def _certify(self, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, usage: str, manufacturer: str) -> bytes:
        names = [("2.23.133.2.1", manufacturer), ("2.23.133.2.2", "toy"), ("2.23.133.2.3", "id:1")]
        directory = x509.Name([x509.NameAttribute(x509.ObjectIdentifier(oid), value) for oid, value in names])
        builder = _builder("", "Toy TPM CA", key)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DirectoryName(directory)]), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        return _der(builder.sign(self.key, hashes.SHA256()))

    @property
    def fingerprint(self) -> str:
        return self.root.fingerprint(hashes.SHA256()).hex()

    @property
    def pem(self) -> bytes:
        """Both authorities."""
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (self.issuer, self.root))


@cache
def maker(name: str = "Toy TPM Root") -> Maker:
    top, key = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    authority = x509.BasicConstraints(ca=True, path_length=None)
    root = _builder(name, name, top.public_key()).add_extension(authority, critical=True).sign(top, hashes.SHA384())
    issuer = _builder("Toy TPM CA", name, key.public_key()).add_extension(authority, critical=True)
    return Maker(root, issuer.sign(top, hashes.SHA256()), key)


def _builder(subject: str, issuer: str, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])

    begin = AT - timedelta(days=400)
    return x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(subject),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=AT + timedelta(days=4000),
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


# --- swtpm -----------------------------------------------------------------------------------------------------------

TOOLS = ("swtpm", "swtpm_setup", "swtpm_localca", "tpm2_quote")


@cache
def _manufactured() -> Path:
    """The state of a new TPM, with certificates of its endorsement keys by an authority of its own; made once."""
    folder = Path(tempfile.mkdtemp(prefix="haulout-swtpm-"))
    for name in ("state", "ca"):
        (folder / name).mkdir()
    ca = folder / "ca"
    (folder / "ca.conf").write_text(
        f"statedir = {ca}\nsigningkey = {ca}/key.pem\nissuercert = {ca}/issuer.pem\ncertserial = {ca}/serial\n"
    )
    (folder / "ca.options").write_text("--platform-manufacturer Tests\n--platform-version 1\n--platform-model Toy\n")
    (folder / "setup.conf").write_text(
        f"create_certs_tool = {shutil.which('swtpm_localca')}\n"
        f"create_certs_tool_config = {folder}/ca.conf\ncreate_certs_tool_options = {folder}/ca.options\n"
    )
    as_root = ["--runas", "root"] if os.geteuid() == 0 else []
    command = ["swtpm_setup", "--tpm2", "--tpmstate", str(folder / "state"), "--create-ek-cert", *as_root]
    command += ["--config", str(folder / "setup.conf"), "--pcr-banks", "sha256,sha384"]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return folder


@dataclass(frozen=True)
class SoftwareTpm:
    """A running swtpm.

    Attributes:
        folder: for files of the tools.
        socket: where it takes commands.
        authorities: certificates of its maker, PEM.
    """

    folder: Path
    socket: Path
    authorities: bytes

    @property
    def root(self) -> str:
        """Fingerprint of the maker's root."""
        found = x509.load_pem_x509_certificates(self.authorities)
        return next(one for one in found if one.subject == one.issuer).fingerprint(hashes.SHA256()).hex()

    def tool(self, name: str, *arguments: str) -> bytes:
        """Run one of tpm2-tools, and free what it left in the TPM."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": f"swtpm:path={self.socket}", "TSS2_LOG": "all+none"}

        def run(*command: str) -> bytes:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, timeout=240, check=False
            )
            assert done.returncode == 0, (command, done.stderr.decode())
            return done.stdout

        output = run(f"tpm2_{name}", *arguments)
        run("tpm2_flushcontext", "-t")
        return output

    def file(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def make_ak(
        self, algorithm: str = "ecc", scheme: str = "ecdsa", hash_name: str = "sha256", *, ek: str = "rsa"
    ) -> bytes:
        """Make an EK and an AK below it, in files ek.ctx and ak.ctx; return the AK's public area."""
        self.tool("createek", "-c", "ek.ctx", "-G", ek, "-u", "ek.pub")
        self.tool(
            "createak",
            "-C",
            "ek.ctx",
            "-c",
            "ak.ctx",
            "-G",
            algorithm,
            "-g",
            hash_name,
            "-s",
            scheme,
            "-u",
            "ak.pub",
            "-n",
            "ak.name",
        )
        return self.file("ak.pub")

    def quote(
        self,
        report_data: bytes = DATA,
        pcrs: str = "sha256:0,4,8,9",
        hash_name: str = "sha256",
        *,
        scheme: str = "ecdsa",
        activation: bytes = b"",
    ) -> bytes:
        """Quote by the AK; return the evidence."""
        self.tool(
            "quote",
            "-c",
            "ak.ctx",
            "-l",
            pcrs,
            "-q",
            report_data.hex(),
            "-g",
            hash_name,
            "--scheme",
            scheme,
            "-m",
            "quote",
            "-s",
            "signature",
        )
        self.tool("pcrread", pcrs, "-o", "pcrs")
        raw, values = self.file("pcrs"), []
        for bank in pcrs.split("+"):
            size = {"sha256": 32, "sha384": 48}[bank.partition(":")[0]]
            for _ in bank.partition(":")[2].split(","):
                values.append(raw[:size])
                raw = raw[size:]
        assert not raw
        return parse.build(
            self.file("quote"),
            self.file("signature"),
            self.file("ak.pub"),
            tuple(values),
            report_data=report_data,
            activation=activation,
        )

    def ek_certificate(self, index: str = "0x1c00002") -> bytes:
        """The certificate of an endorsement key, DER."""
        self.tool("nvread", index, "-o", "ek.der")
        return self.file("ek.der")


@contextmanager
def software_tpm() -> Iterator[SoftwareTpm]:
    """A swtpm of its own, switched on; skips where Debian's packages are missing."""
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is missing: install swtpm, swtpm-tools and tpm2-tools")
    made = _manufactured()
    with tempfile.TemporaryDirectory(prefix="haulout-tpm-") as name:
        folder = Path(name)
        shutil.copytree(made / "state", folder / "state")
        socket = folder / "tpm"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder / 'state'}"]
        command += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
        command += ["--flags", "not-need-init,startup-clear", "--log", f"file={folder / 'log'}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 240
            while not socket.exists():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            authorities = (made / "ca/issuer.pem").read_bytes() + next(made.glob("ca/*rootca-cert.pem")).read_bytes()
            yield SoftwareTpm(folder, socket, authorities)
        finally:
            process.terminate()
            process.wait(240)
