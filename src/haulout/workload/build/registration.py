"""Registering a workload with a key broker, as mkcw does it (the protocol of libkrun up to 1.19). Pure.

``POST {url}/kbs/v0/register_workload`` carries the passphrase: it goes over HTTPS, or stays on this machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from haulout.errors import InvalidManifest, InvalidWorkload, UsageError
from haulout.http import is_loopback
from haulout.local import Table
from haulout.oci import json
from haulout.workload.krun import MAX_KEY_URL, MAX_TEXT, Tee

REGISTER_PATH: Final = "/kbs/v0/register_workload"
KEY_PATH: Final = "/kbs/v0/key/"
MAX_BYTES: Final = 16384
"""Bytes of a registration that are read; mkcw's have about 300."""

_SMT, _MANDATORY = 1, 2
_POLICIES: Final = {Tee.SEV: 63, Tee.SNP: _SMT | _MANDATORY, Tee.TDX: 0, Tee.CCA: 0}
"""Policy bits of a guest. For SEV-SNP mkcw also allows debugging and migration, by which a host reads the guest."""
_WITHOUT_ES: Final = 59


@dataclass(frozen=True, slots=True)
class Registration:
    """What a broker learns of a workload."""

    workload_id: str
    measurement: bytes
    """The launch measurement that the guest's evidence will have."""
    passphrase: str = field(repr=False)
    policy: int
    """Bits that the guest's policy has to have, of SEV or SEV-SNP."""
    firmware: tuple[int, int] = (0, 0)
    """The least version of the platform's firmware: major, minor."""

    @classmethod
    def of(cls, workload_id: str, tee: Tee, measurement: bytes, passphrase: bytes, *, es: bool = True) -> Self:
        """Return the registration of a workload.

        Args:
            workload_id: whose key it is.
            tee: which TEE.
            measurement: the expected launch measurement.
            passphrase: of the disk.
            es: for SEV, whether the guest's registers have to be encrypted.

        Raises:
            UsageError: the passphrase is not text.
        """
        try:
            text = passphrase.decode()
        except UnicodeDecodeError as exc:
            raise UsageError("cannot send a passphrase that is not UTF-8 to a broker") from exc
        return cls(workload_id, measurement, text, _POLICIES[tee] if es or tee is not Tee.SEV else _WITHOUT_ES)

    def to_bytes(self) -> bytes:
        """Return what is posted."""
        major, minor = self.firmware
        tee_config = json.dumps({"flags": {"bits": self.policy}, "minfw": {"major": major, "minor": minor}})
        return json.dumps(
            {
                "workload_id": self.workload_id,
                "launch_measurement": self.measurement.hex(),
                "passphrase": self.passphrase,
                "tee_config": tee_config.decode(),
            }
        )


def parse_registration(data: bytes) -> Registration:
    """Parse what mkcw or :meth:`Registration.to_bytes` posts; unknown members are ignored, as brokers ignore them.

    Raises:
        InvalidWorkload: it is larger than 16 KiB, not JSON, or a member is missing or invalid.
    """
    if len(data) > MAX_BYTES:
        raise _invalid("", f"it has {len(data)} bytes; at most {MAX_BYTES} are accepted")
    values = _table(data, "")
    config = _table(values.text("tee_config", longest=MAX_BYTES).encode(), "tee_config")
    text, passphrase = values.text("launch_measurement"), values.take("passphrase")
    # Not bytes.fromhex alone, which passes over white space.
    if not re.fullmatch(r"([0-9A-Fa-f]{64}|[0-9A-Fa-f]{96}|[0-9A-Fa-f]{128})", text):
        raise _invalid("launch_measurement", "expected 64, 96 or 128 hexadecimal digits")
    if not isinstance(passphrase, str) or not passphrase:
        raise _invalid("passphrase", "expected text that is not empty")
    flags, firmware = config.table("flags"), config.table("minfw")
    return Registration(
        values.text("workload_id", longest=MAX_TEXT),
        bytes.fromhex(text),
        passphrase,
        flags.number("bits", None, (1 << 32) - 1),
        (firmware.number("major", None, 255), firmware.number("minor", None, 255)),
    )


def _table(data: bytes, where: str) -> Table:
    try:
        return Table(json.loads(data, "it"), _invalid, where)
    except InvalidManifest as exc:
        raise _invalid(where, f"not a JSON object: {exc.reason}") from exc


def _invalid(where: str, reason: str, *, hint: str | None = None) -> InvalidWorkload:
    at = f" at {where}" if where else ""
    return InvalidWorkload("registration", f"the registration cannot be read{at}: {reason}", hint=hint)


def check_url(url: str, *, plain: bool = False) -> str:
    """Return the URL of a broker without a slash at its end, if a passphrase may be sent there.

    Args:
        url: of the broker.
        plain: whether plain HTTP to another machine was asked for.

    Raises:
        UsageError: it is not such a URL, has credentials in it, or would send the passphrase in clear.
    """
    url = url.rstrip("/")
    if "@" in url:
        raise UsageError(
            "the URL of the broker holds credentials, which would be readable in the image",
            hint="remove everything before the @",
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise UsageError(f"{url[:80]!r} is not the URL of a broker", hint="for example: https://broker.example.com")
    if not url.isascii() or not url.isprintable() or len(url) > MAX_TEXT:
        raise UsageError(f"the URL of the broker must have at most {MAX_TEXT} characters, all of them ASCII")
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise UsageError(
            f"the passphrase would be sent to {host} unencrypted",
            hint="use https://, or --attestation-plain-http to allow it",
        )
    return url


def key_url_fits(url: str, workload_id: str) -> bool:
    """Whether the guest of libkrun up to 1.19 has room for the URL of the key."""
    return len(url) + len(KEY_PATH) + len(workload_id) <= MAX_KEY_URL
