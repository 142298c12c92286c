"""Telling a key broker of a workload, as mkcw does it (the protocol of libkrun up to 1.19). Pure.

``POST {url}/kbs/v0/register_workload`` carries the passphrase: it goes over HTTPS, or stays on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from haulout.workload.krun import MAX_KEY_URL, MAX_TEXT, Tee
from haulout.errors import UsageError
from haulout.oci import json

if TYPE_CHECKING:
    from collections.abc import Callable

PATH: Final = "/kbs/v0/register_workload"
KEY_PATH: Final = "/kbs/v0/key/"

_SMT, _MANDATORY = 1, 2
_POLICIES: Final = {Tee.SEV: 63, Tee.SNP: _SMT | _MANDATORY, Tee.TDX: 0, Tee.CCA: 0}
"""Policy bits of a guest. For SEV-SNP mkcw also allows debugging and migration, by which a host reads the guest."""
_WITHOUT_ES: Final = 59


def check_url(url: str, is_loopback: Callable[[str], bool], *, plain: bool = False) -> str:
    """Return the URL without a slash at its end, if a passphrase may be sent there.

    Args:
        url: of the broker.
        is_loopback: tells whether a host is this very machine.
        plain: whether plain HTTP to another machine was asked for.

    Raises:
        UsageError: it is no such URL, has credentials in it, or goes to another machine by plain HTTP.
    """
    url = url.rstrip("/")
    if "@" in url:
        raise UsageError(
            "the URL of the broker holds credentials, which everybody could read in the image",
            hint="leave out what stands before the @",
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise UsageError(f"{url[:80]!r} is no URL of a broker", hint="for example: https://broker.example.com")
    if not url.isascii() or not url.isprintable() or len(url) > MAX_TEXT:
        raise UsageError(f"the URL of the broker must have at most {MAX_TEXT} characters, all of ASCII")
    if parts.scheme == "http" and not plain and not is_loopback(host):
        raise UsageError(
            f"the passphrase would cross the network in clear, to {host}",
            hint="use https://; --attestation-plain-http allows it all the same",
        )
    return url


def document(workload_id: str, tee: Tee, measurement: bytes, passphrase: bytes, *, es: bool = True) -> bytes:
    """Return what is posted.

    Args:
        workload_id: whose key it is.
        tee: which TEE.
        measurement: the launch measurement that the guest's evidence will have.
        passphrase: of the disk.
        es: for SEV, whether the guest's registers have to be encrypted.

    Raises:
        UsageError: the passphrase is no text.
    """
    try:
        text = passphrase.decode()
    except UnicodeDecodeError as exc:
        raise UsageError("a passphrase that is no UTF-8 cannot be sent to a broker") from exc
    bits = _POLICIES[tee] if es or tee is not Tee.SEV else _WITHOUT_ES
    tee_config = json.dumps({"flags": {"bits": bits}, "minfw": {"major": 0, "minor": 0}}).decode()
    return json.dumps(
        {
            "workload_id": workload_id,
            "launch_measurement": measurement.hex(),
            "passphrase": text,
            "tee_config": tee_config,
        }
    )


def key_url_fits(url: str, workload_id: str) -> bool:
    """Whether the guest of libkrun up to 1.19 has room for the URL of the key."""
    return len(url) + len(KEY_PATH) + len(workload_id) <= MAX_KEY_URL
