"""Origins (RFC 6454): the scheme, host and port that credentials belong to and never leave."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from haulout.errors import RegistryError
from haulout.local import printable

if TYPE_CHECKING:
    from collections.abc import Collection

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower-case, no brackets) and port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Take the origin of an absolute HTTP URL.

        Raises:
            RegistryError: not an absolute http or https URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise RegistryError(f"not a usable URL: {redact(url)!r}") from exc
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise RegistryError(f"not a usable URL: {redact(url)!r}")
        return cls(parts.scheme, parts.hostname.lower(), port or _PORTS[parts.scheme])

    def is_among(self, hosts: Collection[str]) -> bool:
        """Return whether ``hosts`` name it: as ``host``, or as ``host:port``."""
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        return not {self.host, bracketed, f"{bracketed}:{self.port}"}.isdisjoint(hosts)

    @property
    def netloc(self) -> str:
        """``host[:port]`` as certs.d and references write it: the port only where it is not the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


def redact(url: str, *, longest: int = 200) -> str:
    """Make a URL fit to be shown: query and user are where signatures and passwords travel."""
    head, mark, _ = url.partition("?")
    scheme, separator, rest = head.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        head = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    shown = printable(head, replacement="?", longest=longest)
    return f"{shown}?…" if mark else shown


def is_loopback(host: str) -> bool:
    """Return whether a host (``host``, ``host:port``, ``[v6]:port``) is by its spelling this very machine."""
    name = _bare(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _literal(name)
    return address is not None and address.is_loopback


def is_local(host: str) -> bool:
    """Return whether a host leads to a loopback, link-local or private address, by its spelling or by its name.

    A name that does not resolve here counts as public: behind a proxy names need not resolve, and then the proxy, not
    this machine, makes the connection.
    """
    name = _bare(host)
    if is_loopback(name):
        return True
    literal = _literal(name)
    if literal is not None:
        return _is_inner(literal)
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    addresses = [_literal(str(entry[4][0]).partition("%")[0]) for entry in found]
    return any(address is not None and _is_inner(address) for address in addresses)


def _is_inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    subject = mapped or address
    return subject.is_private or subject.is_loopback or subject.is_link_local or subject.is_unspecified


def _literal(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _bare(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    # A lone colon separates a port; several are an IPv6 address without brackets.
    return host.partition(":")[0].lower() if host.count(":") == 1 else host.lower()
