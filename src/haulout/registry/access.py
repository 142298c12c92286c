"""One repository at one endpoint: fills in path, scopes and counters of every request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from haulout.http import Meter, Patience, Reply, Request
    from haulout.registry.host import RepositoryHost

OK: Final = frozenset({200})


@dataclass(frozen=True, slots=True)
class Access:
    """A repository as its endpoint knows it; the verbs are those of :class:`RepositoryHost`.

    A target without a leading slash and without a scheme is a path of the repository, such as ``blobs/sha256:…``.
    """

    host: RepositoryHost
    repository: str
    meter: Meter
    scopes: frozenset[str]

    @property
    def name(self) -> str:
        """``host/repository``, for messages."""
        return f"{self.host.name}/{self.repository}"

    def patience(self, what: str) -> Patience:
        """Begin counting the tries of an operation."""
        return self.host.patience(what)

    def request(
        self, request: Request, *, what: str, accept: frozenset[int] = OK, patience: Patience | None = None
    ) -> Reply:
        """Send until an accepted status comes."""
        return self.host.request(self._complete(request), self.meter, what=what, accept=accept, patience=patience)

    def exchange(self, request: Request) -> Reply:
        """Send once; any status is returned."""
        return self.host.exchange(self._complete(request), self.meter)

    def follow(self, request: Request, *, what: str, accept: frozenset[int] = OK) -> Reply:
        """Send a GET through redirects."""
        return self.host.follow(self._complete(request), self.meter, what=what, accept=accept)

    def fetch(self, request: Request) -> Reply:
        """Send one GET for a URL that a redirect named."""
        return self.host.fetch(self._complete(request), self.meter)

    def _complete(self, request: Request) -> Request:
        target = request.target
        if not target.startswith(("/", "http://", "https://")):
            target = f"/v2/{self.repository}/{target}"
        return replace(request, target=target, scopes=self.scopes | request.scopes)
