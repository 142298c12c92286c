"""Registering a workload with a key broker, as mkcw does it (the protocol of libkrun up to 1.19). Pure.

``POST {url}/kbs/v0/register_workload`` carries the passphrase: it goes over HTTPS, or stays on this machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from haulout.errors import InvalidManifest, InvalidWorkload, UsageError
from haulout.http import is_loopback
from haulout.oci import json
from haulout.workload.krun import MAX_KEY_URL, MAX_TEXT, Tee

if TYPE_CHECKING:
    from collections.abc import Mapping

REGISTER_PATH: Final = "/kbs/v0/register_workload"
KEY_PATH: Final = "/kbs/v0/key/"
MAX_BYTES: Final = 16384
"""Bytes of a registration that are read; mkcw's have about 300."""
_LONGEST_PASSPHRASE: Final = 4096
_MEASUREMENTS: Final = frozenset({32, 48, 64})
"""Bytes of launch measurements: SEV; SEV-SNP and TDX; CCA, which has all three."""

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
        raise _invalid(f"it has {len(data)} bytes; at most {MAX_BYTES} are accepted")
    values = _object(data, "it")
    config = _object(_text(values, "tee_config", MAX_BYTES).encode(), "tee_config")
    flags, firmware = _table(config, "flags"), _table(config, "minfw")
    try:
        measurement = bytes.fromhex(text := _text(values, "launch_measurement", 2 * max(_MEASUREMENTS)))
    except ValueError as exc:
        raise _invalid("launch_measurement is not hexadecimal") from exc
    if len(measurement) not in _MEASUREMENTS or len(text) != 2 * len(measurement):
        raise _invalid("launch_measurement must have 64, 96 or 128 hexadecimal digits")
    return Registration(
        _text(values, "workload_id", MAX_TEXT),
        measurement,
        _text(values, "passphrase", _LONGEST_PASSPHRASE),
        _number(flags, "bits", (1 << 32) - 1),
        (_number(firmware, "major", 255), _number(firmware, "minor", 255)),
    )


def _object(data: bytes, what: str) -> Mapping[str, Any]:
    try:
        return json.loads(data, what)
    except InvalidManifest as exc:
        raise _invalid(f"{what} is not a JSON object: {exc.reason}") from exc


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if not isinstance(value, dict):
        raise _invalid(f"{key} must be an object")
    return value


def _text(values: Mapping[str, Any], key: str, longest: int) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise _invalid(f"{key} must be a string of 1 to {longest} characters")
    return value


def _number(values: Mapping[str, Any], key: str, most: int) -> int:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _invalid(f"{key} must be a number from 0 to {most}")
    return value


def _invalid(reason: str) -> InvalidWorkload:
    return InvalidWorkload("registration", f"the registration cannot be read: {reason}")


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
            "the URL of the broker holds credentials, which everybody could read in the image",
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
