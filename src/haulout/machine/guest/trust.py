"""Certificate authorities that a guest is to trust besides its own: read and checked here, installed there.

Certificates alone leave this host: a private key that stands in the same file never does.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.errors import InvalidFile, NotFoundError
from haulout.local import LARGEST, printable, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST: Final = "host"
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Of Debian, Fedora, and of macOS, Alpine and the BSDs."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_BLOCK: Final = re.compile(rf"{_BEGIN}\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificates of authorities, each in PEM, and what their owner should know about them."""

    certificates: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def read_authorities(sources: Iterable[str]) -> Authorities:
    """Read certificates.

    Args:
        sources: paths of PEM files, and ``host`` for what this host trusts.

    Raises:
        NotFoundError: there is no such file.
        InvalidFile: it has no certificate, or a damaged one.
        StorageError: it cannot be read.
    """
    certificates: dict[str, None] = {}
    remarks: list[str] = []
    for source in sources:
        found = _host() if source == HOST else _of_file(Path(source))
        certificates |= dict.fromkeys(found.certificates)
        remarks += found.remarks
    return Authorities(tuple(certificates), tuple(remarks))


def _host() -> Authorities:
    """Read what this host trusts; nobody asked for a single one of it, so that there is nothing to remark."""
    found = next((path for path in map(Path, _BUNDLES) if path.is_file()), None)
    if found is None:
        raise NotFoundError(
            "this host has no file of CA certificates", hint="name one by --ca FILE, or install ca-certificates"
        )
    texts = (ssl.DER_cert_to_PEM_cert(der) for der in _blocks(_text(found)) if der and not _fault(der))
    return Authorities(tuple(texts))


def _of_file(path: Path) -> Authorities:
    text = _text(path)
    certificates, remarks = [], []
    if "PRIVATE KEY-----" in text:
        remarks.append(f"{printable(str(path))} holds a private key, too; it stays on this host")
    for number, der in enumerate(_blocks(text), 1):
        if der is None or (fault := _fault(der)) is None:
            raise InvalidFile(path, f"certificate {number} is damaged")
        if fault:
            remarks.append(f"{printable(str(path))}: certificate {number} {fault}")
        if "expired" not in fault:
            certificates.append(ssl.DER_cert_to_PEM_cert(der))
    if not certificates:
        every = "every certificate has expired" if remarks and _BEGIN in text else "has no certificate in PEM"
        raise InvalidFile(path, every, hint="convert one in DER: openssl x509 -inform der -in FILE")
    return Authorities(tuple(certificates), tuple(remarks))


def _text(path: Path) -> str:
    return read_small(path, LARGEST).decode("ascii", "replace")


def _blocks(text: str) -> list[bytes | None]:
    """Return the certificates in a text, in DER; None for one that is damaged."""
    found: list[bytes | None] = []
    for part in text.split(_BEGIN)[1:]:
        block = _BLOCK.match(_BEGIN + part)
        try:
            found.append(ssl.PEM_cert_to_DER_cert(block[0]) if block else None)
        except ValueError:
            found.append(None)
    return found


def _fault(der: bytes) -> str | None:
    """Say what is wrong with a certificate; "": nothing, None: it is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=der)
    except ssl.SSLError:
        return None
    authorities = context.get_ca_certs()
    if not authorities:
        return "is not that of an authority: it vouches for itself at most"
    until = str(authorities[0]["notAfter"])
    return f"expired: {until}" if ssl.cert_time_to_seconds(until) < time.time() else ""


def script(certificates: Iterable[str]) -> str:
    """Return the script that makes a guest trust these and no others of ours. Pure.

    What the guest trusts by itself is not installed twice: a host's bundle is mostly the same as the guest's. Each gets
    a file of its own, since OpenSSL finds them by one link for each file.
    """
    texts = list(certificates)
    mark = hashlib.sha256("".join(texts).encode()).hexdigest() if texts else ""
    lines = [
        f'if [ "$(cat /etc/haulout/ca 2>/dev/null)" != "{mark}" ]; then',
        "if command -v update-ca-certificates >/dev/null; then",
        "dir=/usr/local/share/ca-certificates end=crt update=update-ca-certificates",
        "else dir=/etc/pki/ca-trust/source/anchors end=pem update=update-ca-trust; fi",
        'mkdir -p "$dir" /etc/haulout; rm -f "$dir"/haulout-*; changed=1',
        "own=$(cat /usr/share/ca-certificates/*/*.crt 2>/dev/null)",
        'put() { case "$own" in *"$2"*) ;; *) cat >"$dir/haulout-$1.$end";; esac; }',
    ]
    for text in texts:
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        # Its last whole line is a part of the signature, which no two have in common.
        lines.append(f"put {name} {text.splitlines()[-3]} <<'END'\n{text.strip()}\nEND")
    lines.append(f'$update >/dev/null 2>&1 && echo "{mark}" >/etc/haulout/ca || echo ca-refused')
    return "\n".join([*lines, "fi"])
