"""Talks to one repository's host: chooses the scheme, answers challenges, tries again, follows redirects safely."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, RegistryError
from haulout.http import (
    FOREIGN,
    MAX_BODY,
    Answer,
    Origin,
    Patience,
    Request,
    TlsProfile,
    is_local,
    is_loopback,
    profile_for,
    resolve_location,
    speaks_no_tls,
)
from haulout.registry.auth import token
from haulout.registry.auth.authorizer import Authorizer
from haulout.registry.auth.challenge import Challenge, parse_challenges

if TYPE_CHECKING:
    from collections.abc import Callable

    from haulout.http import Meter, Reply, Transport
    from haulout.registry.options import ConnectionOptions, Credentials

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_MAX_AUTH_ROUNDS: Final = 2
"""Challenges answered per request: one to begin or to replace an expired token, one for a missing scope."""
_PROBE_CONNECT_SECONDS: Final = 3.0
"""Longest wait for TLS where plain HTTP may be spoken instead."""
_MAX_WARNINGS: Final = 64
_API_HOSTS: Final = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


@dataclass(slots=True)
class SchemeMemory:
    """What is known of one host, shared by all its repositories."""

    scheme: str | None = None


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
        memory: SchemeMemory,
        find_credentials: Callable[[], Credentials | None],
        note: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.transport = transport
        self._note = note
        self._memory = memory
        self._authorizer = Authorizer(find_credentials)
        self._lock = Lock()
        self._warned: set[str] = set()
        self._vetted: dict[Origin, TlsProfile] = {}
        """Where redirects may lead, and how to meet it: names are resolved once, not once per range."""

    @property
    def name(self) -> str:
        """The host as the user spells it."""
        return self.settings.name

    @property
    def origin(self) -> Origin:
        """Where requests go; settled once the first answer came."""
        return Origin.of(self._url("/", self._memory.scheme or self.settings.schemes[0]))

    def patience(self, what: str) -> Patience:
        """Begin counting the tries of an operation."""
        return Patience(what, self.transport.options.attempts)

    def exchange(self, request: Request, meter: Meter) -> Reply:
        """Send one request, answering challenges; a failed status is returned, not raised.

        Raises:
            DeniedError: a token is refused, or credentials would go where they must not.
            one of ``failures.FOREIGN``: no answer.
        """
        rounds = 0
        while True:
            authorization = self._authorizer.header(
                request.scopes, lambda challenge, scopes, who: self._fetch_token(challenge, scopes, who, meter)
            )
            reply = self._send(request, meter, authorization)
            self._show_warnings(reply)
            if reply.status not in {401, 403}:
                return reply
            offered = parse_challenges([reply.headers.get("www-authenticate", "")])
            again = rounds < _MAX_AUTH_ROUNDS and self._authorizer.answer(
                reply.status, offered, authorization, request.scopes
            )
            if not again:
                return reply
            rounds += 1
            reply.close()

    def request(
        self, request: Request, meter: Meter, *, what: str, accept: frozenset[int], patience: Patience | None = None
    ) -> Reply:
        """Send a request until an accepted status comes, within the tries that are allowed.

        Raises:
            HauloutError: whatever finally went wrong, in one line that begins with ``what``.
        """
        patience = patience or self.patience(what)
        while True:
            try:
                reply = self.exchange(request, meter)
            except FOREIGN as error:
                patience.after(error, self.name)
                continue
            if reply.status in accept:
                return reply
            patience.after_answer(take_answer(reply), self.name)

    def fetch(self, request: Request, meter: Meter) -> Reply:
        """Send a GET for a URL that a redirect named: with credentials on our own origin, without on any other.

        Raises:
            DeniedError: it leads into this machine's own network, or away from TLS.
            one of ``failures.FOREIGN``: no answer.
        """
        here, there = self.origin, Origin.of(request.target)
        if there == here:
            return self.exchange(request, meter)
        vetted = self._vetted.get(there)
        if vetted is None:
            vetted = self._vetted[there] = self._vet(here, there)
        return self.transport.send(request, vetted, meter)

    def _vet(self, here: Origin, there: Origin) -> TlsProfile:
        if here.scheme == "https" and there.scheme != "https":
            raise DeniedError(f"{self.name} redirects from https to {there}; content is not fetched without TLS")
        if there.host != here.host and is_local(there.host) and not is_local(here.host):
            raise DeniedError(f"{self.name} redirects into this machine's own network, to {there.netloc}")
        return self._profile(there)

    def follow(self, request: Request, meter: Meter, *, what: str, accept: frozenset[int]) -> Reply:
        """Send a GET, following redirects.

        Raises:
            HauloutError: as :meth:`request`.
        """
        patience = self.patience(what)
        reply = self.request(request, meter, what=what, accept=accept | REDIRECTS, patience=patience)
        for _ in range(_MAX_REDIRECTS):
            if reply.status in accept:
                return reply
            reply.close()
            reply = self._fetch_patiently(
                Request("GET", self.location(reply), request.headers, scopes=request.scopes), meter, accept, patience
            )
        if reply.status in accept:
            return reply
        reply.close()
        raise RegistryError(f"{what}: {self.name} redirects more than {_MAX_REDIRECTS} times")

    def _fetch_patiently(self, request: Request, meter: Meter, accept: frozenset[int], patience: Patience) -> Reply:
        who = Origin.of(request.target).netloc
        while True:
            try:
                reply = self.fetch(request, meter)
            except FOREIGN as error:
                patience.after(error, who)
                continue
            if reply.status in accept | REDIRECTS:
                return reply
            patience.after_answer(take_answer(reply), who)

    def location(self, reply: Reply) -> str:
        """The absolute URL of a Location header."""
        return resolve_location(reply.url, reply.headers.get("location", ""))

    def own_location(self, reply: Reply, what: str) -> str:
        """The Location of an upload, which must stay on this origin (CVE-2026-50151).

        Raises:
            DeniedError: it leads elsewhere.
        """
        url = self.location(reply)
        here, there = self.origin, Origin.of(url)
        if there == here:
            return url
        if (
            (here.scheme, there.scheme) == ("https", "http")
            and there.host == here.host
            and there.port in {80, here.port}
        ):
            # A registry behind a proxy that does not tell it about TLS. The request stays here, and encrypted.
            _, slash, path = url.partition("://")[2].partition("/")
            return f"{here}{slash}{path}"
        raise DeniedError(
            f"{what}: {self.name} wants the upload sent to {there}, another host; nothing is sent there",
            hint="the registry's own address is misconfigured, or the registry is not to be trusted",
        )

    def _url(self, target: str, scheme: str) -> str:
        if not target.startswith("/"):
            return target
        return f"{scheme}://{_API_HOSTS.get(self.settings.name, self.settings.name)}{target}"

    def _send(self, request: Request, meter: Meter, authorization: str | None) -> Reply:
        headers = {**request.headers, "Authorization": authorization} if authorization else request.headers
        known = self._memory.scheme
        *probed, last = (known,) if known else self.settings.schemes
        for scheme in probed:
            trial = replace(request, target=self._url(request.target, scheme), headers=headers)
            try:
                reply = self.transport.send(trial, self.settings.profile, meter, connect_seconds=_PROBE_CONNECT_SECONDS)
            except FOREIGN as error:
                if not speaks_no_tls(error, self.name):
                    raise
                # Nobody has read it.
                meter.add(requests=-1)
                continue
            self._memory.scheme = scheme
            return reply
        final = replace(request, target=self._url(request.target, last), headers=headers)
        reply = self.transport.send(final, self.settings.profile, meter)
        self._memory.scheme = last
        return reply

    def _profile(self, origin: Origin) -> TlsProfile:
        # "Insecure" was said of the registry's host alone.
        insecure = not self.settings.profile.verify and origin.host == self.origin.host
        return profile_for(
            origin.netloc, self.transport.environment, insecure=insecure, ca_file=self.transport.options.ca_file
        )

    def _show_warnings(self, reply: Reply) -> None:
        # distribution-spec, "Warnings": 299 only; shown once, never acted upon.
        value = reply.headers.get("warning", "")
        if not value.startswith("299 "):
            return
        text = value.partition('"')[2].rpartition('"')[0].replace('\\"', '"')
        text = "".join(character if character.isprintable() else " " for character in text)[:300]
        with self._lock:
            if not text or text in self._warned or len(self._warned) >= _MAX_WARNINGS:
                return
            self._warned.add(text)
        self._note(f"{self.name} says: {text}")

    def _fetch_token(
        self, challenge: Challenge, scopes: frozenset[str], credentials: Credentials | None, meter: Meter
    ) -> token.Token:
        what = f"a token for {self.name}"
        realm = token.check_realm(challenge.parameters["realm"], self.origin)
        request = token.token_request(challenge, scopes, credentials, self.transport.options.user_agent)
        patience = self.patience(what)
        while True:
            now = time.monotonic()
            try:
                with self.transport.send(request, self._profile(realm), meter) as reply:
                    body = reply.body(token.MAX_BODY, what)
            except FOREIGN as error:
                patience.after(error, realm.netloc)
                continue
            if reply.status == 200:
                return token.parse_token(body, realm, now)
            if reply.status in {400, 401, 403}:
                who = "refuses these credentials" if credentials else "gives no token without credentials"
                raise DeniedError(f"{realm.netloc} {who} ({reply.status})", hint=f"haulout login {self.name}")
            patience.after_answer(Answer(reply.status, reply.headers, body), realm.netloc)


def settings_for(
    name: str,
    transport: Transport,
    options: ConnectionOptions,
    *,
    plain_http: bool = False,
    insecure: bool = False,
    forgiving: bool = False,
) -> HostSettings:
    """Decide how to reach a host.

    Args:
        name: ``host[:port]``.
        transport: for its environment.
        options: the caller's choices.
        plain_http: HTTP only, as the user said.
        insecure: any certificate will do, as the user said.
        forgiving: any certificate or plain HTTP will do, as registries.conf says with ``insecure = true``.
    """
    origin = Origin.of(f"https://{_API_HOSTS.get(name, name)}")
    profile = profile_for(
        origin.netloc,
        transport.environment,
        insecure=insecure or forgiving,
        ca_file=options.ca_file,
    )
    if plain_http:
        return HostSettings(name, ("http",), profile, options)
    both = forgiving or is_loopback(name)
    return HostSettings(name, ("https", "http") if both else ("https",), profile, options)


def take_answer(reply: Reply) -> Answer:
    """Read a failed answer's body, as far as it is worth, and give the connection back."""
    try:
        body = reply.body(MAX_BODY, "the error")
    except (RegistryError, *FOREIGN):
        body = b""
    finally:
        reply.close()
    return Answer(reply.status, reply.headers, body)
