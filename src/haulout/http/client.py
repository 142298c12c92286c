"""Calls of a server: tried again, redirects followed, bodies bounded, errors typed.

:class:`Caller` is what every conversation shares, however one request is sent; :class:`Client` is the one for services
that need no more than a URL.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from haulout.http.attempts import Attempts, failure
from haulout.http.failures import FOREIGN, translate
from haulout.http.messages import Answer, Meter, Request
from haulout.http.options import HttpOptions
from haulout.http.origin import Origin
from haulout.http.redirects import PORTABLE_HEADERS, REDIRECTS, Hops, Targets
from haulout.http.tls import TlsProfile, profile_for
from haulout.http.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from haulout.http.attempts import Translator
    from haulout.http.messages import Reply

OK: Final = frozenset({200})
ACCEPTED: Final = frozenset({200, 201, 202, 204})
MAX_ANSWER: Final = 1024 * 1024
"""Bytes of an answer read where nothing else is said."""


class Caller(ABC):
    """Repeats, follows and reads whole what :meth:`exchange` sends once.

    Args:
        attempts: per request, the first included.
        failure: turns failed answers into errors.
    """

    def __init__(self, attempts: int, failure: Translator = failure) -> None:
        self._allowed = attempts
        self._failure = failure

    @abstractmethod
    def server(self, request: Request) -> str:
        """Return the server that a request goes to, as the user spells it."""

    @abstractmethod
    def exchange(self, request: Request) -> Reply:
        """Send once; any status is returned.

        Raises:
            one of ``failures.FOREIGN``: no answer.
        """

    @abstractmethod
    def redirected(self, request: Request, here: Origin) -> Reply:
        """Send once to a URL that ``here`` redirected to; as :meth:`exchange`.

        Raises:
            DeniedError: it must not be followed.
        """

    def attempts(self, what: str, allowed: int | None = None) -> Attempts:
        """Begin counting the attempts of an operation."""
        return Attempts(what, allowed or self._allowed, self._failure)

    def send(
        self,
        request: Request,
        *,
        what: str,
        accept: frozenset[int] = OK,
        redirects: bool = False,
        attempts: Attempts | None = None,
    ) -> Reply:
        """Send until an accepted status comes, within the attempts allowed.

        Args:
            request: what to send.
            what: what is asked, to begin errors with.
            accept: statuses that are returned.
            redirects: whether they are followed, which only GET and HEAD are for.
            attempts: shared with other requests of the same operation.

        Raises:
            HauloutError: what finally went wrong, in one line that begins with ``what``.
        """
        attempts = attempts or self.attempts(what)
        wanted = accept | REDIRECTS if redirects else accept
        host = self.server(request)
        reply = self._until(self.exchange, request, wanted, attempts, host)
        here, hops = Origin.of(reply.url), Hops(what, host)
        while reply.status not in accept:
            onward = replace(request, target=hops.next(reply))
            there = Origin.of(onward.target).netloc
            reply = self._until(lambda one: self.redirected(one, here), onward, wanted, attempts, there, host)
        return reply

    def read(
        self,
        request: Request,
        *,
        what: str,
        most: int = MAX_ANSWER,
        accept: frozenset[int] = OK,
        redirects: bool = False,
        attempts: Attempts | None = None,
    ) -> Answer:
        """Send until an accepted answer has been read whole, at most ``most`` bytes of it; as :meth:`send`.

        The body of an accepted failure (400 and above) is only read as far as possible.
        """
        attempts = attempts or self.attempts(what)
        while True:
            with self.send(request, what=what, accept=accept, redirects=redirects, attempts=attempts) as reply:
                if reply.status >= 400:
                    return reply.take_failure()
                try:
                    return Answer(reply.status, reply.headers, reply.body(most, what), reply.url)
                except FOREIGN as error:
                    attempts.after(error, reply.host)

    @staticmethod
    def _until(
        send: Callable[[Request], Reply],
        request: Request,
        accept: frozenset[int],
        attempts: Attempts,
        host: str,
        sender: str = "",
    ) -> Reply:
        while True:
            try:
                reply = send(replace(request, attempt=attempts.number))
            except FOREIGN as error:
                attempts.after(error, host)
                continue
            if reply.status in accept:
                return reply
            attempts.after_answer(reply.take_failure(), host, sender if sender != host else "")


class Client(Caller):
    """A client for any HTTP service. Safe to use from several threads; close it when done.

    Certificates are always verified. Of a request's headers only Accept and Range follow a redirect to
    another origin.

    Args:
        options: certificates, deadlines and attempts.
        environment: in place of ``os.environ``: proxies, and where certs.d is.
        failure: turns failed answers into errors; by default 401 and 403 are DeniedError, 404 is NotFoundError, all
            others are RegistryError with their status.
    """

    def __init__(
        self,
        options: HttpOptions | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        failure: Translator = failure,
    ) -> None:
        self._options = options or HttpOptions()
        super().__init__(self._options.attempts, failure)
        self._environment = dict(os.environ if environment is None else environment)
        self._transport = Transport(self._options, self._environment)
        self._profiles: dict[Origin, TlsProfile] = {}
        self._targets = Targets(self._profile, self._options.allowed_hosts)
        self.meter = Meter()

    def server(self, request: Request) -> str:
        """Return ``host[:port]`` of a URL."""
        return Origin.of(request.target).netloc

    def exchange(self, request: Request) -> Reply:
        """Send once; any status is returned."""
        return self._transport.send(request, self._profile(Origin.of(request.target)), self.meter)

    def redirected(self, request: Request, here: Origin) -> Reply:
        """Send once to where ``here`` redirected to."""
        there = Origin.of(request.target)
        if there == here:
            return self.exchange(request)
        kept = {name: value for name, value in request.headers.items() if name.lower() in PORTABLE_HEADERS}
        return self._transport.send(
            replace(request, headers=kept), self._targets.profile(here, there, here.netloc), self.meter
        )

    def post_json(
        self,
        url: str,
        document: bytes,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        most: int = MAX_ANSWER,
        attempts: int | None = None,
    ) -> Answer:
        """Send a JSON document and read the answer; redirects are not followed.

        Args:
            url: absolute, http or https.
            document: JSON; it may hold secrets, and is never shown.
            what: what is asked, to begin errors with.
            headers: more of them, such as Authorization or Cookie.
            most: bytes of the answer accepted.
            attempts: in place of those of the options: 1 for what must not be sent twice.

        Raises:
            UnreachableError: no connection, no trusted certificate, no answer.
            DeniedError, NotFoundError, RegistryError: the answer is a failure, or too long.
        """
        kind = {"Content-Type": "application/json", "Accept": "application/json"}
        request = Request("POST", url, {**kind, **(headers or {})}, lambda: document)
        return self.read(request, what=what, most=most, accept=ACCEPTED, attempts=self.attempts(what, attempts))

    def stream(self, url: str, *, what: str, most: int, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Send a GET, through redirects, and return the blocks of its body, at most ``most`` bytes in all.

        Raises:
            HauloutError: at once as :meth:`post_json`; from the iterator where the answer breaks off or is too long.
        """
        reply = self.send(Request("GET", url, headers or {}), what=what, redirects=True)
        return _blocks(reply, most, what)

    def _profile(self, origin: Origin) -> TlsProfile:
        found = self._profiles.get(origin)
        if found is None:
            found = profile_for(origin.netloc, self._environment, ca_file=self._options.ca_file)
            self._profiles[origin] = found
        return found

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _blocks(reply: Reply, most: int, what: str) -> Iterator[bytes]:
    with reply:
        try:
            yield from reply.blocks(most, what)
        except FOREIGN as error:
            raise translate(error, reply.host, what) from error
