"""One repository at one endpoint: fills in path, scopes and counters of every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from haulout.registry.host import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from haulout.registry.host import RepositoryHost
    from haulout.registry.meter import Meter
    from haulout.registry.transport import Reply

OK = frozenset({200})


@dataclass(frozen=True, slots=True)
class Access:
    """A repository as its endpoint knows it."""

    host: RepositoryHost
    repository: str
    meter: Meter
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """``host/repository``, for messages."""
        return f"{self.host.name}/{self.repository}"

    def path(self, rest: str) -> str:
        """The path of an endpoint of the API, such as ``blobs/sha256:…``."""
        return f"/v2/{self.repository}/{rest}"

    def patience(self, what: str) -> Patience:
        """Begin counting the tries of an operation."""
        return Patience(self.host, what)

    def request(
        self,
        method: str,
        target: str,
        *,
        what: str,
        accept: frozenset[int] = OK,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] | None = None,
        extra_scopes: frozenset[str] = frozenset(),
        patience: Patience | None = None,
    ) -> Reply:
        """As :meth:`RepositoryHost.request`; ``target`` is relative to the repository, or a URL."""
        return self.host.request(
            method,
            self._target(target),
            self.meter,
            self.scopes | extra_scopes,
            what=what,
            accept=accept,
            headers=headers,
            body=body,
            patience=patience,
        )

    def exchange(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] | None = None,
        extra_scopes: frozenset[str] = frozenset(),
        answer_seconds: float | None = None,
    ) -> Reply:
        """As :meth:`RepositoryHost.exchange`: one try, any status."""
        return self.host.exchange(
            method,
            self._target(target),
            self.meter,
            self.scopes | extra_scopes,
            headers=headers,
            body=body,
            answer_seconds=answer_seconds,
        )

    def follow(
        self, target: str, *, what: str, accept: frozenset[int] = OK, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """As :meth:`RepositoryHost.follow`: GET through redirects."""
        return self.host.follow(
            self._target(target), self.meter, self.scopes, what=what, accept=accept, headers=headers
        )

    def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """As :meth:`RepositoryHost.fetch`: one GET of a URL a redirect named."""
        return self.host.fetch(url, self.meter, self.scopes, headers=headers)

    def _target(self, target: str) -> str:
        return target if target.startswith("/") or "://" in target[:8] else self.path(target)
