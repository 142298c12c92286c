"""Translates what urllib3, http.client, ssl and the operating system raise into our errors."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from urllib3 import exceptions as foreign

from haulout.errors import RegistryError, UnreachableError
from haulout.http.lines import TooManyLines
from haulout.http.origin import is_loopback
from haulout.local import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOREIGN: Final = (
    foreign.HTTPError,
    foreign.HTTPWarning,
    foreign.ProxySchemeUnsupported,
    http.client.HTTPException,
    OSError,
    UnicodeError,
    EOFError,
)
"""Everything a request or a read can raise that is not ours."""

_E = TypeVar("_E", bound=BaseException)
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3} .{0,60})")
"""What http.client says of a proxy that does not let us through."""


class ProxyFailure(OSError):  # noqa: N818 - what the message says
    """The proxy could not be reached, or refuses; raised from what happened."""

    def __init__(self, proxy: str, variable: str) -> None:
        super().__init__(f"the proxy {proxy} fails")
        self.proxy = proxy
        self.variable = variable
        """That names it."""


_HINTS: Final[dict[int, str | None]] = {
    9: "check this machine's clock",
    10: "check this machine's clock; if it is right, the certificate of {host} must be renewed",
    62: "use the host name that the certificate is for",
    64: "use the host name that the certificate is for",
}
"""By X509_V_ERR_* of OpenSSL: what a new authority would not mend (not valid yet, expired, for another host)."""
_NO_SUCH_HOST: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def translate(error: BaseException, host: str, what: str) -> UnreachableError | RegistryError:
    """Say what a foreign exception means for a person.

    Args:
        error: one of :data:`FOREIGN`.
        host: the server as the user spells it.
        what: what was asked, to begin the line with.
    """
    chain = tuple(_causes(error))
    failed = _first(chain, ProxyFailure)
    if failed is not None:
        return _proxy_error(failed, tuple(one for one in chain if one is not failed), host, what)
    meaning = _meaning(chain)
    certificate = _first(chain, ssl.SSLCertVerificationError)
    detail = certificate.verify_message if certificate is not None else _short(chain)
    hint = meaning.hint
    if certificate is not None:
        tried = ", ".join(getattr(certificate, "__notes__", ()))
        hint = f"{tried} does not hold the authority of this certificate" if tried else hint
        hint = _HINTS.get(certificate.verify_code, hint)
    hint = hint.replace("{host}", host) if hint else None
    return meaning.error(f"{what}: {meaning.text.format(host=host, detail=detail)}", hint=hint)


def _proxy_error(failed: ProxyFailure, chain: tuple[BaseException, ...], host: str, what: str) -> UnreachableError:
    refusal = _refusal(chain)
    hint = f"check {failed.variable}; no_proxy names hosts to reach without it"
    if refusal is None:
        # It was meant for urllib3's users; ours are told which of the two it is about.
        told = tuple(one for one in chain if not isinstance(one, foreign.ProxyError))
        text = _meaning(told).text.format(host=failed.proxy, detail=_short(chain))
    else:
        text = f"{failed.proxy} answers {printable(refusal, longest=80)}"
        if refusal.startswith("407"):
            hint = f"write user and password into {failed.variable}: http://USER:PASSWORD@{failed.proxy}"
    return UnreachableError(f"{what}: the proxy on the way to {host} fails: {text}", hint=hint)


def _meaning(chain: tuple[BaseException, ...]) -> _Meaning:
    return next(row for row in _MEANINGS if any(isinstance(one, row.kinds) for one in chain) or row is _MEANINGS[-1])


def _refusal(chain: tuple[BaseException, ...]) -> str | None:
    """Return the status and reason with which a proxy refuses a tunnel."""
    found = (_TUNNEL.match(str(one)) for one in chain if isinstance(one, OSError))
    return next((one[1] for one in found if one is not None), None)


def note_authorities(error: BaseException, files: tuple[Path, ...]) -> None:
    """Write down on an error of a certificate which authorities were tried besides the system's."""
    certificate = _first(tuple(_causes(error)), ssl.SSLCertVerificationError)
    if certificate is not None:
        for file in files:
            certificate.add_note(str(file))


def blames_proxy(error: BaseException, *, resolves: bool) -> bool:
    """Return whether a request through a proxy failed because of the proxy.

    Args:
        error: one of :data:`FOREIGN`.
        resolves: whether the proxy resolves the names of servers.
    """
    chain = tuple(_causes(error))
    if resolves and _first(chain, socket.gaierror) is not None:
        return True
    # PySocks is optional: its errors are known by where they come from.
    is_socks = any(type(one).__module__ == "socks" for one in chain)
    return is_socks or _first(chain, foreign.ProxyError) is not None


def may_pass(error: BaseException) -> bool:
    """Return whether a connection failure may be gone a moment later."""
    chain = tuple(_causes(error))
    unresolved = _first(chain, socket.gaierror)
    if unresolved is not None and unresolved.errno in _NO_SUCH_HOST:
        return False
    refusal = _refusal(chain)
    if refusal is not None and refusal[0] != "5":
        return False
    # A handshake cut short may succeed next time; a certificate does not change.
    return not any(isinstance(one, (ssl.SSLCertVerificationError, *_NONSENSE)) for one in chain)


def is_refusal(error: BaseException) -> bool:
    """Return whether nothing listens there."""
    return _first(tuple(_causes(error)), ConnectionRefusedError) is not None


def speaks_no_tls(error: BaseException, host: str) -> bool:
    """Return whether a first attempt at HTTPS failed as it does on a server of plain HTTP."""
    chain = tuple(_causes(error))
    if _first(chain, ssl.SSLCertVerificationError) is not None or _first(chain, ProxyFailure) is not None:
        return False
    if _first(chain, ssl.SSLError) is not None:
        return True
    # Servers that wait for the end of a request line, or hang up on the first strange byte.
    hung_up = _first(chain, ConnectionResetError) or _first(chain, TimeoutError)
    return hung_up is not None and is_loopback(host)


_NONSENSE: Final = (
    foreign.LocationValueError,
    foreign.InvalidHeader,
    foreign.HeaderParsingError,
    foreign.DecodeError,
    foreign.BodyNotHttplibCompatible,
    foreign.ResponseNotChunked,
    foreign.InvalidChunkLength,
    foreign.UnrewindableBodyError,
    foreign.TimeoutStateError,
    http.client.InvalidURL,
    http.client.LineTooLong,
    http.client.UnknownProtocol,
    TooManyLines,
    UnicodeError,
)


class _Meaning(NamedTuple):
    kinds: tuple[type[BaseException], ...]
    error: type[UnreachableError | RegistryError]
    text: str
    hint: str | None = None


_MEANINGS: Final = (
    _Meaning(
        (ssl.SSLCertVerificationError,),
        UnreachableError,
        "the certificate of {host} is not trusted: {detail}",
        "put its authority into ~/.config/containers/certs.d/{host}/ca.crt, or use --insecure",
    ),
    _Meaning(
        (ssl.SSLError, foreign.SSLError),
        UnreachableError,
        "{host} does not answer with TLS: {detail}",
        "if it speaks plain HTTP, use --plain-http or an http:// URL",
    ),
    _Meaning(
        (socket.gaierror, foreign.NameResolutionError),
        UnreachableError,
        "the host name {host} does not resolve",
        "check its spelling and the network",
    ),
    _Meaning(
        (ConnectionRefusedError,),
        UnreachableError,
        "{host} refuses connections: nothing listens there",
        "check host and port, and that the server runs",
    ),
    _Meaning(
        (foreign.TimeoutError, TimeoutError),
        UnreachableError,
        "{host} does not answer in time",
        "check the network, or try again later",
    ),
    _Meaning(_NONSENSE, RegistryError, "{host} answers with something that is not HTTP: {detail}"),
    _Meaning((BaseException,), UnreachableError, "the connection to {host} broke: {detail}"),
)
"""The first row that fits the exception, or anything it was raised from, says what it means."""


def innermost(error: BaseException) -> BaseException:
    """Return what an exception was raised from in the first place."""
    return tuple(_causes(error))[-1]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        queue += [argument for argument in one.args if isinstance(argument, BaseException)]
        reason = getattr(one, "reason", None)
        queue += [reason if isinstance(reason, BaseException) else None, one.__cause__, one.__context__]


def _first(chain: tuple[BaseException, ...], kind: type[_E]) -> _E | None:
    return next((one for one in chain if isinstance(one, kind)), None)


def _short(chain: tuple[BaseException, ...]) -> str:
    text = str(chain[-1]) or type(chain[-1]).__name__
    # urllib3 puts the request target, signed query and all, into some messages.
    return printable(text.partition("?")[0], longest=160)
