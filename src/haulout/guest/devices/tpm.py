"""A TPM 2.0 through the kernel's resource manager: Linux 4.12 and later, ``/dev/tpmrm0``.

A TPM is not a TEE: it vouches for what booted, and protects no memory. It is asked where there is no TEE.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from haulout.errors import InvalidEvidence
from haulout.guest.devices.port import Answer
from haulout.guest.refusal import GuestRefusal, Rule
from haulout.tee.tpm import attester

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LARGEST = 4096
"""Bytes of a response (TPM2_MAX_RESPONSE_SIZE)."""
WORKLOAD_PCR = 8


class TpmDevice:
    """The device; its keys are freed when it is closed, at the latest with the guest."""

    tee = "tpm"

    def __init__(self, name: str, send: Callable[[bytes], bytes]) -> None:
        self.name = name
        self._tpm = attester.Attester(send)

    def keys(self) -> tuple[bytes, bytes]:
        """Return the certificate of the endorsement key in DER, and the public area of the attestation key.

        Raises:
            GuestRefusal: the TPM has no certificate, or fails.
        """
        with _refusing(self.name):
            return self._tpm.ek_certificate(), self._tpm.ak

    def activate(self, credential: bytes) -> None:
        """Decrypt a broker's credential, for the evidence that follows.

        Raises:
            GuestRefusal: it is for another TPM.
        """
        with _refusing(self.name):
            self._tpm.activate(credential)

    def bind(self, digest: bytes) -> bytes:
        """Extend a binding into the workload's PCR, unless that was done before; return the PCR.

        Raises:
            GuestRefusal: the TPM fails.
        """
        with _refusing(self.name):
            if not any(self._tpm.pcrs()[WORKLOAD_PCR]):
                self._tpm.extend(WORKLOAD_PCR, digest)
            return self._tpm.pcrs()[WORKLOAD_PCR]

    def evidence(self, report_data: bytes) -> Answer:
        """Return evidence that carries these 64 bytes.

        Raises:
            GuestRefusal: the TPM fails.
        """
        with _refusing(self.name):
            return Answer(self.tee, self._tpm.evidence(report_data), (self._tpm.ek_certificate(),))


def bound(digest: bytes) -> bytes:
    """Return the workload's PCR after a binding was extended into it, and nothing else."""
    return hashlib.sha256(bytes(32) + digest).digest()


def find_tpm(root: Path) -> TpmDevice | None:
    """Return the device; None: there is none."""
    path = root / "dev/tpmrm0"
    if not path.exists():
        return None
    try:
        device = os.open(path, os.O_RDWR)
    except OSError as exc:
        raise GuestRefusal(Rule.DEVICE, f"{path} cannot be opened: {exc.strerror}") from exc

    def send(command: bytes) -> bytes:
        os.write(device, command)
        return os.read(device, _LARGEST)

    return TpmDevice("a TPM by /dev/tpmrm0", send)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except attester.TpmFailed as exc:
        raise GuestRefusal(Rule.DEVICE, str(exc)) from exc
    except (OSError, InvalidEvidence) as exc:
        raise GuestRefusal(Rule.DEVICE, f"{name} gives no evidence: {exc}") from exc
