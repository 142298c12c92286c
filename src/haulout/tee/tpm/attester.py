"""The other side: a guest's few commands to its TPM. Whoever calls brings the way there and back.

Commands are marshalled here, since the TSS with its tools is larger than the initramfs that needs them. Both keys are
made from the TPM's own seeds by templates, so they are the same at each boot and nothing has to be stored.

Source: TCG, TPM 2.0 Library, Part 3: Commands; templates: EK Credential Profile 2.5, annex B.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidEvidence
from haulout.tee.tpm import parse
from haulout.tee.tpm.structures import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

_ENDORSEMENT: Final = 0x4000_000B
_NULL: Final = 0x4000_0007
_PASSWORD: Final = 0x4000_0009
_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_POLICY_SECRET: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""Policy of an EK: the endorsement hierarchy's password, which is empty unless somebody sets one."""
_EK: Final = (
    bytes.fromhex("0001000b000300b20020")
    + _POLICY_SECRET
    + bytes.fromhex("0006008000430010080000000000" + "0100" + "00" * 256)
)
"""Template L-1: RSA 2048."""
_EK_CERTIFICATE: Final = 0x01C0_0002
_AK: Final = bytes.fromhex("0023000b0005047200000010" + "0018000b" + "00030010" + "00000000")
"""Restricted, signs by ECDSA on P-256 with SHA-256; not subject to lockout, since its password is empty."""
_SHA256: Final = 0x000B
_QUOTED: Final = 16
"""PCRs 0 to 15."""
_READ_AT_ONCE: Final = 8
_PIECE: Final = 512
_TRIES: Final = 5
_SIZE_OF_PARAMETER: Final = 0x95
_PARAMETER: Final = 0xBF


class TpmFailed(Exception):  # noqa: N818 - it is an answer of the device
    """A TPM refused a command.

    Attributes:
        code: TPM_RC.
    """

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"the TPM refused {command} ({code:#x})")
        self.code = code


@dataclass(slots=True)
class Attester:
    """A TPM to which commands can be sent.

    Attributes:
        send: takes a command, returns the response; raises OSError.
    """

    send: Callable[[bytes], bytes] = field(repr=False)
    _ek: int = 0
    _ak: int = 0
    _public: bytes = b""
    _activation: bytes = b""

    def open(self) -> None:
        """Make both keys.

        Raises:
            TpmFailed: the TPM refuses.
            OSError: it does not answer.
        """
        if not self._ak:
            self._ek, _ = self._primary(_EK)
            self._ak, self._public = self._primary(_AK)

    def close(self) -> None:
        """Free both keys."""
        for handle in (self._ak, self._ek):
            if handle:
                self._run("FlushContext", 0x165, b"", _u32(handle))
        self._ek = self._ak = 0

    @property
    def ak(self) -> bytes:
        """The attestation key's public area."""
        self.open()
        return self._public

    def ek_certificate(self) -> bytes:
        """Return the certificate of the endorsement key, as its maker stored it in the TPM.

        Raises:
            TpmFailed: there is none.
            OSError: the TPM does not answer.
        """
        index = _u32(_EK_CERTIFICATE)
        reader = self._run("NV_ReadPublic", 0x169, index, b"")
        described = Reader(reader.sized(256), "index of the TPM")
        described.take(10)
        described.sized(64)
        size, found = described.number(2), b""
        while len(found) < size:
            wanted = _u16(min(_PIECE, size - len(found))) + _u16(len(found))
            found += self._run("NV_Read", 0x14E, index + index, wanted, _password()).sized(_PIECE)
        # Some makers leave room behind the certificate.
        return found[: 4 + int.from_bytes(found[2:4], "big")] if found[:2] == b"\x30\x82" else found

    def activate(self, credential: bytes) -> None:
        """Decrypt a broker's credential; what is found goes into the evidence that follows.

        Raises:
            TpmFailed: it is for other keys.
            OSError: the TPM does not answer.
        """
        self.open()
        start = _u32(_NULL) + _u32(_NULL)
        options = _sized(bytes(16)) + _sized(b"") + b"\1" + _u16(0x10) + _u16(_SHA256)
        session = self._run("StartAuthSession", 0x176, start, options).number(4)
        empty = _sized(b"")
        self._run("PolicySecret", 0x151, _u32(_ENDORSEMENT) + _u32(session), empty * 3 + _u32(0), _password())
        # The session ends with the command, by its attributes.
        both = _password() + _u32(session) + empty + b"\0" + empty
        keys = _u32(self._ak) + _u32(self._ek)
        self._activation = self._run("ActivateCredential", 0x147, keys, credential, both).sized(64)

    def extend(self, number: int, digest: bytes) -> None:
        """Extend a SHA-256 digest into a PCR.

        Raises:
            TpmFailed: the PCR cannot be extended from here.
            OSError: the TPM does not answer.
        """
        self._run("PCR_Extend", 0x182, _u32(number), _u32(1) + _u16(_SHA256) + digest, _password())

    def pcrs(self) -> tuple[bytes, ...]:
        """Return PCRs 0 to 15 of SHA-256.

        Raises:
            TpmFailed: the TPM refuses.
            OSError: it does not answer.
        """
        found: list[bytes] = []
        for first in range(0, _QUOTED, _READ_AT_ONCE):
            chosen = range(first, first + _READ_AT_ONCE)
            reader = self._run("PCR_Read", 0x17E, b"", _selection(chosen))
            reader.take(4 + len(_selection(chosen)))
            found += [reader.sized(64) for _ in range(reader.number(4))]
        return tuple(found)

    def evidence(self, report_data: bytes) -> bytes:
        """Return evidence (:mod:`.parse`) that carries 64 bytes.

        Raises:
            TpmFailed: the TPM refuses, or PCRs change all the time.
            OSError: it does not answer.
        """
        self.open()
        for _ in range(_TRIES):
            values = self.pcrs()
            attest, signature = self._quote(report_data)
            evidence = parse.build(
                attest, signature, self._public, values, report_data=report_data, activation=self._activation
            )
            # A PCR may have been extended between the two commands.
            if hashlib.sha256(b"".join(values)).digest() == parse.parse(evidence).attest.digest:
                return evidence
        raise TpmFailed("Quote: PCRs keep changing", 0)

    def _quote(self, report_data: bytes) -> tuple[bytes, bytes]:
        chosen = _u16(0x10) + _selection(range(_QUOTED))
        try:
            reader = self._run("Quote", 0x158, _u32(self._ak), _sized(report_data) + chosen, _password())
        except TpmFailed as exc:
            if exc.code & _PARAMETER != _SIZE_OF_PARAMETER:
                raise
            short = _sized(hashlib.sha256(report_data).digest())
            reader = self._run("Quote", 0x158, _u32(self._ak), short + chosen, _password())
        return reader.sized(1024), reader.rest()

    def _primary(self, template: bytes) -> tuple[int, bytes]:
        """Make a key in the endorsement hierarchy; return its handle and its public area."""
        parameters = _sized(_sized(b"") + _sized(b"")) + _sized(template) + _sized(b"") + _u32(0)
        reader = self._run("CreatePrimary", 0x131, _u32(_ENDORSEMENT), parameters, _password(), handle=True)
        return reader.number(4), reader.sized(1024)

    def _run(
        self,
        name: str,
        code: int,
        handles: bytes,
        parameters: bytes,
        authorization: bytes = b"",
        *,
        handle: bool = False,
    ) -> Reader:
        """Run a command; return its response from the handle on, without the size and sessions of parameters."""
        sessions = _u32(len(authorization)) + authorization if authorization else b""
        body = handles + sessions + parameters
        tag = _SESSIONS if authorization else _NO_SESSIONS
        answer = self.send(_u16(tag) + _u32(10 + len(body)) + _u32(code) + body)
        reader = Reader(answer, "answer of the TPM")
        answered, size, failed = reader.number(2), reader.number(4), reader.number(4)
        if size != len(answer):
            raise InvalidEvidence("answer of the TPM", "it does not have the size that it says")
        if failed:
            raise TpmFailed(name, failed)
        if answered != _SESSIONS:
            return reader
        own = reader.take(4) if handle else b""
        return Reader(own + reader.take(reader.number(4)), "answer of the TPM")


def _selection(numbers: range) -> bytes:
    """Return a TPML_PCR_SELECTION of SHA-256."""
    bits = sum(1 << number for number in numbers)
    return _u32(1) + _u16(_SHA256) + b"\3" + bits.to_bytes(3, "little")


def _password() -> bytes:
    """Return an authorization by the empty password."""
    return _u32(_PASSWORD) + _sized(b"") + b"\1" + _sized(b"")


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _sized(data: bytes) -> bytes:
    return _u16(len(data)) + data
