"""What a device is asked and answers, and how the lines between guest and emulated TEE are written. Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from haulout.guest.refusal import GuestRefusal, Rule

REPORT_DATA: Final = 64
LONGEST: Final = 1 << 20
"""Bytes of a line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a TEE signed.

    Attributes:
        tee: which one, as :mod:`haulout.tee` names it.
        evidence: as it was signed.
        certificates: in DER, that of the signer first; none where the verifier is expected to have them.
    """

    tee: str
    evidence: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)


class Device(Protocol):
    """Something that signs evidence about this machine."""

    name: str
    """For people."""
    tee: str

    def evidence(self, report_data: bytes) -> Answer:
        """Return evidence that carries these 64 bytes.

        Raises:
            GuestRefusal: the device fails.
        """


def as_question(report_data: bytes) -> bytes:
    """Return the line by which a guest asks an emulated TEE; empty report data asks which TEE it is."""
    return json.dumps({"report_data": report_data.hex()}).encode() + b"\n"


def read_question(line: bytes) -> bytes:
    """Return the report data that a guest asks for; b"": it asks which TEE this is.

    Raises:
        ValueError: it is not a question.
    """
    values = _object(line)
    found = bytes.fromhex(values["report_data"]) if isinstance(values.get("report_data"), str) else None
    if found is None or len(found) not in {0, REPORT_DATA}:
        raise ValueError("not a question for report data of 64 bytes")
    return found


def as_answer(answer: Answer) -> bytes:
    """Return the line by which an emulated TEE answers."""
    document = {
        "tee": answer.tee,
        "evidence": base64.b64encode(answer.evidence).decode(),
        "certificates": [base64.b64encode(one).decode() for one in answer.certificates],
    }
    return json.dumps(document).encode() + b"\n"


def read_answer(line: bytes) -> Answer:
    """Return what an emulated TEE answered.

    Raises:
        GuestRefusal: it is not an answer.
    """
    try:
        values = _object(line)
        if not isinstance(values["tee"], str):
            raise ValueError("tee")  # noqa: TRY301, TRY004 - one answer for whatever is wrong with it
        certificates = tuple(base64.b64decode(one, validate=True) for one in values["certificates"])
        return Answer(values["tee"], base64.b64decode(values["evidence"], validate=True), certificates)
    except (ValueError, KeyError, TypeError) as exc:
        raise GuestRefusal(Rule.DEVICE, "the emulated TEE does not answer in its protocol") from exc


def _object(line: bytes) -> dict[str, Any]:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a value from outside
    return values
