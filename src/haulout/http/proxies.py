"""Proxies: which one a request takes, as the environment says, and how it is met."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.util import make_headers

from haulout.errors import UsageError
from haulout.extras import require
from haulout.http.origin import is_loopback, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from haulout.http.origin import Origin

_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""Schemes of proxies, and their usual ports; with the ``h`` or ``a`` the proxy resolves names."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy; its password is not shown."""

    variable: str
    """That names it."""
    scheme: str
    host: str
    """Without brackets."""
    port: int
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def netloc(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def resolves(self) -> bool:
        """Whether names are resolved there, so that a name which does not resolve here is the proxy's own."""
        return self.scheme not in {"socks4", "socks5"}

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS rather than HTTP."""
        return self.scheme.startswith("socks")


def find_proxy(origin: Origin, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that stands between this machine and an origin; None where there is none.

    ``http_proxy`` counts in lower case only: ``HTTP_PROXY`` may be a header of a request to a CGI program.

    Raises:
        UsageError: the variable does not name a proxy that can be spoken to.
    """
    if bypasses_proxy(origin, environment.get("no_proxy") or environment.get("NO_PROXY") or ""):
        return None
    names = ("http_proxy",) if origin.scheme == "http" else ("https_proxy", "HTTPS_PROXY")
    variable, value = next(
        (found for name in (*names, "all_proxy", "ALL_PROXY") if (found := (name, environment.get(name, "")))[1]),
        ("", ""),
    )
    return parse_proxy(variable, value.strip()) if value.strip() else None


def parse_proxy(variable: str, value: str) -> Proxy:
    """Read the value of a variable: a URL, or ``host:port`` for an HTTP proxy.

    Raises:
        UsageError: as :func:`find_proxy`. User and password are never quoted.
    """
    url = value if "://" in value else f"http://{value}"
    shown = redact(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise UsageError(f"{variable} is not the URL of a proxy: {shown!r}") from exc
    if not host:
        raise UsageError(f"{variable} is not the URL of a proxy: {shown!r}")
    if parts.scheme not in _PORTS:
        raise UsageError(
            f"{variable} names a proxy of an unknown kind: {shown!r}", hint=f"known are {', '.join(_PORTS)}"
        )
    # What is not allowed in a URL is percent-encoded there (RFC 3986, section 3.2.1).
    user = None if parts.username is None else unquote(parts.username)
    return Proxy(variable, parts.scheme, host, port or _PORTS[parts.scheme], user, unquote(parts.password or ""))


def make_manager(proxy: Proxy, **options: Any) -> urllib3.PoolManager:
    """Make the pools of connections through a proxy.

    Raises:
        ToolError: it speaks SOCKS, and the package for that is not installed.
    """
    url = f"{proxy.scheme}://{proxy.netloc}"
    if proxy.is_socks:
        require("socks", extra="socks")
        from urllib3.contrib.socks import SOCKSProxyManager  # noqa: PLC0415 - needs an optional package

        return SOCKSProxyManager(url, username=proxy.username, password=proxy.password, **options)
    basic = None
    if proxy.username is not None:
        # As bytes that urllib3, which knows Latin-1 only, does not change.
        pair = f"{proxy.username}:{proxy.password}".encode().decode("latin-1")
        basic = make_headers(proxy_basic_auth=pair)
    return urllib3.ProxyManager(url, proxy_headers=basic, **options)


def bypasses_proxy(origin: Origin, no_proxy: str) -> bool:
    """Return whether ``no_proxy`` (names, suffixes, ``host:port``, CIDR networks, ``*``) or loopback exempts a host."""
    if is_loopback(origin.host):
        return True
    for entry in (part.lower().lstrip(".") for part in re.split(r"[\s,]+", no_proxy)):
        bare = entry.replace("[", "").replace("]", "")
        if entry == "*" or (bare and bare in {origin.host, f"{origin.host}:{origin.port}"}):
            return True
        if entry and origin.host.endswith(f".{entry.removeprefix('*.')}"):
            return True
        with suppress(ValueError):
            if "/" in entry and ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False
