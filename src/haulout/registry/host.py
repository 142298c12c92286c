"""Sends one request to a repository's host: chooses http or https, answers challenges, vets redirects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, HauloutError, RegistryError
from haulout.http import (
    FOREIGN,
    REDIRECTS,
    RETRIABLE,
    Caller,
    Origin,
    Request,
    Targets,
    TlsProfile,
    is_loopback,
    location,
    profile_for,
    speaks_no_tls,
)
from haulout.local import printable
from haulout.registry.errcode import failure
from haulout.registry.quirks import api_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from haulout.http import Answer, Meter, Reply, Transport
    from haulout.registry.auth.authorizer import Authorizer
    from haulout.registry.auth.challenge import Challenge
    from haulout.registry.options import ConnectionOptions, Credentials

_MAX_AUTH_ROUNDS: Final = 2
"""Challenges answered per request: one to begin or to replace an expired token, one for a missing scope."""
_PROBE_CONNECT_SECONDS: Final = 3.0
"""Longest wait for TLS where plain HTTP may be spoken instead."""
_MAX_WARNINGS: Final = 64
_FINAL: Final = frozenset(range(200, 600)) - REDIRECTS - RETRIABLE
"""Answers of a token service that an authentication scheme is given to judge."""


@dataclass(slots=True)
class HostMemory:
    """What is known of one host, shared by all its repositories."""

    scheme: str | None = None
    refuses_whole: bool = False
    """It takes blobs in pieces only."""
    refuses_mounts: bool = False
    """It has answered a mount with an error."""
    offered: tuple[Challenge, ...] | None = None
    """What the API's root challenges with; None where it has not been asked."""
    asking: Lock = field(default_factory=Lock)


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How to reach one host."""

    name: str
    """As the reference has it."""
    schemes: tuple[str, ...]
    """To be tried in order; the first that answers is kept."""
    profile: TlsProfile
    options: ConnectionOptions


class RepositoryHost:
    """One host on behalf of one repository. Safe to use from several threads."""

    def __init__(
        self,
        settings: HostSettings,
        transport: Transport,
        memory: HostMemory,
        find_credentials: Callable[[], Credentials | None],
        note: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.transport = transport
        self._note = note
        self._memory = memory
        self._find_credentials = cache(find_credentials)
        self._authorizer: Authorizer | None = None
        """None before the first challenge."""
        self._lock = Lock()
        self._warned: set[str] = set()
        self._targets = Targets(self.profile, settings.options.allowed_hosts)

    @property
    def name(self) -> str:
        """The host as the user spells it."""
        return self.settings.name

    @property
    def memory(self) -> HostMemory:
        """What is known of the host."""
        return self._memory

    def note(self, text: str) -> None:
        """Tell the user one line."""
        self._note(text)

    @property
    def origin(self) -> Origin:
        """Where requests go; settled once the first answer came."""
        return Origin.of(self._url("/", self._memory.scheme or self.settings.schemes[0]))

    def exchange(self, request: Request, scopes: frozenset[str], meter: Meter) -> Reply:
        """Send one request, answering challenges; a failed status is returned, not raised.

        Args:
            request: its target is a URL on this host, or a path.
            scopes: what a token must allow.
            meter: counts it.

        Raises:
            DeniedError: a token is refused, or credentials would go where they must not.
            one of ``failures.FOREIGN``: no answer.
        """
        rounds = 0
        while True:
            known = self._authorizer
            authorization = known.header(scopes, lambda asked: self._ask(asked, meter)) if known else None
            reply = self._send(request, meter, authorization)
            self._show_warnings(reply)
            if reply.status not in {401, 403, 404} or rounds == _MAX_AUTH_ROUNDS:
                return reply
            status, offered = reply.status, _challenges(reply) if reply.status != 404 else ()
            if not offered and authorization is None and (status != 404 or self._has_credentials()):
                # Some registries challenge at the root of the API only, and hide everything else from strangers
                # (containerd issue 3291).
                status, offered = 401, self._root_challenges(meter)
            if not offered or not self._challenged().answer(status, offered, scopes, authorization):
                return reply
            rounds += 1
            reply.close()

    def _has_credentials(self) -> bool:
        try:
            return self._find_credentials() is not None
        except HauloutError:
            # Nobody has asked for them yet: what is wrong with them is no reason to fail.
            return False

    def _root_challenges(self, meter: Meter) -> tuple[Challenge, ...]:
        memory = self._memory
        with memory.asking:
            if memory.offered is None:
                try:
                    with self._send(Request("GET", "/v2/"), meter, None) as reply:
                        memory.offered = _challenges(reply) if reply.status in {401, 403} else ()
                except FOREIGN:
                    return ()
            return memory.offered

    def fetch(self, request: Request, scopes: frozenset[str], meter: Meter) -> Reply:
        """Send a GET for a URL that a redirect named: with credentials on our own origin, without on any other.

        Raises:
            DeniedError: it leads into this machine's own network, or away from TLS.
            one of ``failures.FOREIGN``: no answer.
        """
        here, there = self.origin, Origin.of(request.target)
        if there == here:
            return self.exchange(request, scopes, meter)
        return self.transport.send(request, self._targets.profile(here, there, self.name), meter)

    def own_location(self, reply: Reply, what: str) -> str:
        """Return the Location of an upload, which must stay on this origin (CVE-2026-50151).

        Raises:
            DeniedError: it leads elsewhere.
            RegistryError: there is none.
        """
        if not reply.headers.get("location"):
            raise RegistryError(f"{what}: {self.name} does not say where to send the upload")
        url = location(reply)
        here, there = self.origin, Origin.of(url)
        if there == here:
            return url
        if (
            (here.scheme, there.scheme) == ("https", "http")
            and there.host == here.host
            and there.port in {80, here.port}
        ):
            # A registry behind a proxy that does not report TLS to it. The request stays here, and encrypted.
            _, slash, path = url.partition("://")[2].partition("/")
            return f"{here}{slash}{path}"
        raise DeniedError(
            f"{what}: {self.name} wants the upload sent to {there}, another host; nothing is sent there",
            hint="the registry's own address is misconfigured, or the registry is not to be trusted",
        )

    def profile(self, origin: Origin) -> TlsProfile:
        """Return how to meet another origin that the host named."""
        # "Insecure" was said of the registry's host alone.
        insecure = not self.settings.profile.verify and origin.host == self.origin.host
        environment, ca_file = self.transport.environment, self.settings.options.ca_file
        return profile_for(origin.netloc, environment, insecure=insecure, ca_file=ca_file)

    def _challenged(self) -> Authorizer:
        from haulout.registry.auth.authorizer import Authorizer  # noqa: PLC0415 - as parse_challenges
        from haulout.registry.auth.scheme import Party  # noqa: PLC0415

        with self._lock:
            if self._authorizer is None:
                name, agent = self.settings.name, self.settings.options.user_agent
                self._authorizer = Authorizer(
                    Party(name, agent, lambda: self.origin, self._find_credentials, self.settings.options.allowed_hosts)
                )
            return self._authorizer

    def _url(self, target: str, scheme: str) -> str:
        return f"{scheme}://{api_host(self.settings.name)}{target}" if target.startswith("/") else target

    def _send(self, request: Request, meter: Meter, authorization: str | None) -> Reply:
        headers = {**request.headers, "Authorization": authorization} if authorization else request.headers
        known = self._memory.scheme
        *probed, last = (known,) if known else self.settings.schemes
        for scheme in probed:
            probe = replace(request, target=self._url(request.target, scheme), headers=headers)
            try:
                reply = self.transport.send(probe, self.settings.profile, meter, connect_seconds=_PROBE_CONNECT_SECONDS)
            except FOREIGN as error:
                if not speaks_no_tls(error, self.name):
                    raise
                # It was not read.
                meter.add(requests=-1)
                continue
            self._memory.scheme = scheme
            return reply
        final = replace(request, target=self._url(request.target, last), headers=headers)
        reply = self.transport.send(final, self.settings.profile, meter)
        self._memory.scheme = last
        return reply

    def _ask(self, request: Request, meter: Meter) -> Answer:
        return _TokenService(self, meter).read(request, what=f"a token for {self.name}", accept=_FINAL, redirects=True)

    def _show_warnings(self, reply: Reply) -> None:
        # distribution-spec, "Warnings": 299 only; shown once, never acted upon.
        value = reply.headers.get("warning", "")
        if not value.startswith("299 "):
            return
        text = printable(value.partition('"')[2].rpartition('"')[0].replace('\\"', '"'))
        with self._lock:
            if not text or text in self._warned or len(self._warned) >= _MAX_WARNINGS:
                return
            self._warned.add(text)
        self._note(f"warning from {self.name}: {text}")


class _TokenService(Caller):
    """Sends what an authentication scheme needs to be sent, without any credentials of its own."""

    def __init__(self, host: RepositoryHost, meter: Meter) -> None:
        super().__init__(host.settings.options.attempts, failure)
        self._host = host
        self._meter = meter

    def server(self, request: Request) -> str:
        return Origin.of(request.target).netloc

    def exchange(self, request: Request) -> Reply:
        return self._host.transport.send(request, self._host.profile(Origin.of(request.target)), self._meter)

    def redirected(self, request: Request, here: Origin) -> Reply:
        from haulout.registry.auth.bearer import check_redirect  # noqa: PLC0415 - loaded by now

        options = self._host.settings.options
        check_redirect(request, here, self._host.origin, options.allowed_hosts)
        return self.exchange(request)


def _challenges(reply: Reply) -> tuple[Challenge, ...]:
    from haulout.registry.auth.challenge import parse_challenges  # noqa: PLC0415 - most hosts send none

    return parse_challenges([reply.headers.get("www-authenticate", "")])


def settings_for(
    name: str,
    environment: Mapping[str, str],
    options: ConnectionOptions,
    *,
    plain_http: bool = False,
    insecure: bool = False,
    forgiving: bool = False,
) -> HostSettings:
    """Decide how to reach a host.

    Args:
        name: ``host[:port]``.
        environment: where certs.d is.
        options: the caller's choices.
        plain_http: HTTP only, as the user asked.
        insecure: any certificate will do, as the user asked.
        forgiving: any certificate or plain HTTP will do, as registries.conf says with ``insecure = true``.
    """
    origin = Origin.of(f"https://{api_host(name)}")
    profile = profile_for(
        origin.netloc,
        environment,
        insecure=insecure or forgiving,
        ca_file=options.ca_file,
    )
    if plain_http:
        return HostSettings(name, ("http",), profile, options)
    both = forgiving or is_loopback(name)
    return HostSettings(name, ("https", "http") if both else ("https",), profile, options)
