"""Talks to one repository's host: chooses the scheme, answers challenges, tries again, translates failures."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from haulout.errors import DeniedError, RegistryError
from haulout.registry import challenge as challenges
from haulout.registry import retry, token
from haulout.registry.errcode import MAX_BODY, Answer, failure
from haulout.registry.failures import FOREIGN, is_refusal, may_pass, speaks_no_tls, translate
from haulout.registry.origin import Origin, is_loopback, is_local, resolve_location
from haulout.registry.tls import TlsProfile, profile_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from haulout.errors import HauloutError
    from haulout.registry.meter import Meter
    from haulout.registry.options import Credentials
    from haulout.registry.transport import Reply, Transport

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_MAX_AUTH_ROUNDS: Final = 2
"""Challenges answered per request: one to begin or to replace an expired token, one for a missing scope."""
_LOOPBACK_CONNECT_SECONDS: Final = 3.0
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


class Patience:
    """The tries of one operation: sleeps between them, or raises what finally went wrong."""

    def __init__(self, host: RepositoryHost, what: str) -> None:
        self._host = host
        self._what = what
        self._failures = 0

    def progressed(self) -> None:
        """Forget the failures so far: the operation has moved on."""
        self._failures = 0

    def after(self, error: BaseException, who: str) -> None:
        """Wait after a broken connection to ``who``.

        Raises:
            UnreachableError, RegistryError: there is no point in trying again.
        """
        self._failures += 1
        attempts = self._host.transport.options.attempts
        if is_refusal(error):
            attempts = min(attempts, retry.REFUSED_ATTEMPTS)
        wait = retry.wait_before_next(self._failures, attempts, jitter=random.random()) if may_pass(error) else None  # noqa: S311 - spreads load, keeps no secret
        if wait is None:
            raise self._named(translate(error, who)) from error
        time.sleep(wait)

    def after_answer(self, answer: Answer, who: str) -> None:
        """Wait after an answer that may be better next time.

        Raises:
            HauloutError: what the answer means.
        """
        self._failures += 1
        wait = retry.wait_before_next(
            self._failures,
            self._host.transport.options.attempts,
            status=answer.status,
            retry_after=retry.parse_retry_after(answer.headers.get("retry-after")),
            jitter=random.random(),  # noqa: S311 - as above
        )
        if wait is None:
            raise failure(answer, self._what, who)
        time.sleep(wait)

    def _named(self, error: HauloutError) -> HauloutError:
        error.message = f"{self._what}: {error.message}"
        return error


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
        self.note = note
        self._memory = memory
        self._find_credentials = find_credentials
        self._lock = Lock()
        self._credentials: tuple[Credentials | None] | None = None
        self._challenge: challenges.Challenge | None = None
        self._wider: frozenset[str] = frozenset()
        self._tokens: dict[frozenset[str], token.Token] = {}
        self._warned: set[str] = set()

    @property
    def name(self) -> str:
        """The host as the user spells it."""
        return self.settings.name

    @property
    def origin(self) -> Origin:
        """Where requests go; settled once the first answer came."""
        return Origin.of(self._url("/", self._memory.scheme or self.settings.schemes[0]))

    def exchange(
        self,
        method: str,
        target: str,
        meter: Meter,
        scopes: frozenset[str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] | None = None,
        answer_seconds: float | None = None,
    ) -> Reply:
        """Send one request, answering challenges; a failed status is returned, not raised.

        Args:
            method: the HTTP method.
            target: a path beginning with ``/``, or a URL of this very origin.
            meter: what to count on.
            scopes: what a token must allow.
            headers: besides Authorization.
            body: makes the body anew for each try.
            answer_seconds: longest silence before the answer.

        Raises:
            DeniedError: credentials are missing or refused, or would go where they must not.
            one of ``failures.FOREIGN``: no answer.
        """
        rounds = 0
        while True:
            authorization = self._authorization(meter, scopes)
            sent = dict(headers or {})
            if authorization is not None:
                sent["Authorization"] = authorization
            reply = self._send(method, target, meter, sent, body, answer_seconds)
            self._show_warnings(reply)
            if reply.status not in {401, 403}:
                return reply
            offered = challenges.parse_challenges([reply.headers.get("www-authenticate", "")])
            if rounds >= _MAX_AUTH_ROUNDS or not self._answer(reply.status, offered, authorization, meter, scopes):
                return reply
            rounds += 1
            reply.close()

    def request(
        self,
        method: str,
        target: str,
        meter: Meter,
        scopes: frozenset[str],
        *,
        what: str,
        accept: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] | None = None,
        patience: Patience | None = None,
        answer_seconds: float | None = None,
    ) -> Reply:
        """Send a request until an accepted status comes, within the tries that are allowed.

        Raises:
            HauloutError: whatever finally went wrong, in one line that begins with ``what``.
        """
        patience = patience or Patience(self, what)
        while True:
            try:
                reply = self.exchange(
                    method, target, meter, scopes, headers=headers, body=body, answer_seconds=answer_seconds
                )
            except FOREIGN as error:
                patience.after(error, self.name)
                continue
            if reply.status in accept:
                return reply
            patience.after_answer(take_answer(reply), self.name)

    def fetch(
        self, url: str, meter: Meter, scopes: frozenset[str], *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """GET a URL a redirect named: with credentials on our own origin, without on any other.

        Raises:
            DeniedError: it leads into this machine's own network, or away from TLS.
            one of ``failures.FOREIGN``: no answer.
        """
        here, there = self.origin, Origin.of(url)
        if there == here:
            return self.exchange("GET", url, meter, scopes, headers=headers)
        if here.scheme == "https" and there.scheme != "https":
            raise DeniedError(f"{self.name} redirects from https to {there}; content is not fetched without TLS")
        if there.host != here.host and is_local(there.host) and not is_local(here.host):
            raise DeniedError(f"{self.name} redirects into this machine's own network, to {there.netloc}")
        return self.transport.send("GET", url, self._profile(there), meter, headers=headers)

    def follow(
        self,
        path: str,
        meter: Meter,
        scopes: frozenset[str],
        *,
        what: str,
        accept: frozenset[int],
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """GET a path, following redirects.

        Raises:
            HauloutError: as :meth:`request`.
        """
        patience = Patience(self, what)
        reply = self.request(
            "GET", path, meter, scopes, what=what, accept=accept | REDIRECTS, headers=headers, patience=patience
        )
        hops = 0
        while reply.status not in accept:
            reply.close()
            if reply.status not in REDIRECTS:
                patience.after_answer(take_answer(reply), reply.host)
            elif hops >= _MAX_REDIRECTS:
                raise RegistryError(f"{what}: {self.name} redirects more than {_MAX_REDIRECTS} times")
            url = reply.url if reply.status not in REDIRECTS else self.location(reply)
            hops += reply.status in REDIRECTS
            while True:
                try:
                    reply = self.fetch(url, meter, scopes, headers=headers)
                    break
                except FOREIGN as error:
                    patience.after(error, Origin.of(url).netloc)
        return reply

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
            there.host == here.host
            and there.scheme == "http"
            and here.scheme == "https"
            and there.port in {80, here.port}
        ):
            # A registry behind a proxy that does not tell it about TLS; the request stays here, encrypted.
            return str(here) + url.partition("://")[2].partition("/")[1] + url.partition("://")[2].partition("/")[2]
        raise DeniedError(
            f"{what}: {self.name} wants the upload sent to {there}, another host; nothing is sent there",
            hint="the registry's own address is misconfigured, or the registry is not to be trusted",
        )

    # -- scheme ------------------------------------------------------------------------------------------------------

    def _url(self, target: str, scheme: str) -> str:
        if not target.startswith("/"):
            return target
        return f"{scheme}://{_API_HOSTS.get(self.settings.name, self.settings.name)}{target}"

    def _send(
        self,
        method: str,
        target: str,
        meter: Meter,
        headers: Mapping[str, str],
        body: Callable[[], bytes | Iterable[bytes]] | None,
        answer_seconds: float | None,
    ) -> Reply:
        known = self._memory.scheme
        schemes = (known,) if known else self.settings.schemes
        for scheme in schemes:
            last = scheme == schemes[-1]
            try:
                reply = self.transport.send(
                    method,
                    self._url(target, scheme),
                    self.settings.profile,
                    meter,
                    headers=headers,
                    body=body() if body is not None else None,
                    connect_seconds=None if last else _LOOPBACK_CONNECT_SECONDS,
                    answer_seconds=answer_seconds,
                )
            except FOREIGN as error:
                if last or not speaks_no_tls(error, self.name):
                    raise
                continue
            self._memory.scheme = scheme
            return reply
        raise AssertionError("a host has at least one scheme")

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
            if not text or text in self._warned or len(self._warned) > 64:
                return
            self._warned.add(text)
        self.note(f"{self.name} says: {text}")

    # -- credentials -------------------------------------------------------------------------------------------------

    def _authorization(self, meter: Meter, scopes: frozenset[str]) -> str | None:
        with self._lock:
            if self._challenge is None:
                return None
            if self._challenge.scheme == "basic":
                credentials = self._look_up()
                return None if credentials is None else token.basic(credentials)
            return "Bearer " + self._token(meter, scopes).value

    def _answer(
        self,
        status: int,
        offered: tuple[challenges.Challenge, ...],
        sent: str | None,
        meter: Meter,
        scopes: frozenset[str],
    ) -> bool:
        """Take up a challenge; whether the request is worth repeating."""
        chosen = challenges.choose(offered)
        if chosen is None or (status == 403 and not chosen.is_insufficient_scope):
            return False
        with self._lock:
            if chosen.scheme == "basic":
                credentials = self._look_up()
                self._challenge = chosen
                # What was refused once is refused again.
                return credentials is not None and bool(credentials.username) and sent != token.basic(credentials)
            wanted = scopes | self._wider
            held = self._tokens.get(wanted)
            self._challenge = chosen
            if chosen.is_insufficient_scope and not chosen.scopes <= wanted:
                self._wider |= chosen.scopes
                return True
            if held is not None and sent != f"Bearer {held.value}":
                # Another thread has replaced it in the meantime.
                return True
            self._tokens.pop(wanted, None)
            return True

    def _token(self, meter: Meter, scopes: frozenset[str]) -> token.Token:
        wanted = scopes | self._wider
        held = self._tokens.get(wanted)
        if held is not None and held.is_fresh(time.monotonic()):
            return held
        fetched = self._tokens[wanted] = self._fetch_token(meter, wanted)
        return fetched

    def _fetch_token(self, meter: Meter, scopes: frozenset[str]) -> token.Token:
        assert self._challenge is not None
        what = f"a token for {self.name}"
        realm = token.check_realm(self._challenge.parameters["realm"], self.origin)
        credentials = self._look_up()
        request = token.token_request(self._challenge, scopes, credentials, self.transport.options.user_agent)
        profile = self._profile(realm)
        patience = Patience(self, what)
        while True:
            now = time.monotonic()
            try:
                with self.transport.send(
                    request.method, request.url, profile, meter, headers=request.headers, body=request.body
                ) as reply:
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

    def _look_up(self) -> Credentials | None:
        # Once, and only when asked for: helpers are programs.
        if self._credentials is None:
            self._credentials = (self._find_credentials(),)
        return self._credentials[0]


def settings_for(
    name: str, transport: Transport, *, plain_http: bool = False, insecure: bool = False, forgiving: bool = False
) -> HostSettings:
    """Decide how to reach a host.

    Args:
        name: ``host[:port]``.
        transport: for its options and environment.
        plain_http: HTTP only, as the user said.
        insecure: any certificate will do, as the user said.
        forgiving: any certificate or plain HTTP will do, as registries.conf says with ``insecure = true``.
    """
    origin = Origin.of(f"https://{_API_HOSTS.get(name, name)}")
    profile = profile_for(
        origin.netloc,
        transport.environment,
        insecure=insecure or forgiving,
        ca_file=transport.options.ca_file,
    )
    if plain_http:
        return HostSettings(name, ("http",), profile)
    both = forgiving or is_loopback(name)
    return HostSettings(name, ("https", "http") if both else ("https",), profile)


def take_answer(reply: Reply) -> Answer:
    """Read a failed answer's body, as far as it is worth, and give the connection back."""
    try:
        body = reply.body(MAX_BODY, "the error")
    except (RegistryError, *FOREIGN):
        body = b""
    finally:
        reply.close()
    return Answer(reply.status, reply.headers, body)
