"""One repository at one endpoint: fills in path, scopes and counters of every request."""

from __future__ import annotations

from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING

from haulout.http import Caller, Origin
from haulout.registry.errcode import failure

if TYPE_CHECKING:
    from haulout.http import Meter, Reply, Request
    from haulout.registry.host import RepositoryHost


class ReferrersMemory:
    """What is known of one repository, shared by all its users in this process."""

    def __init__(self) -> None:
        self.lacks_api = False
        self.is_new = False
        """Whether the registry did not know the repository when its tags were listed, nor a blob in it since."""
        self.can_delete: bool | None = None
        """None before it was asked."""
        self.writing = RLock()
        """One writer of fallback tags at a time, so that our own threads do not race each other."""


class Access(Caller):
    """A repository as its endpoint knows it.

    A target without a leading slash and without a scheme is a path of the repository, such as ``blobs/sha256:…``.

    Args:
        host: where it is.
        repository: its name there.
        meter: counts requests and bytes.
        scopes: what a token must allow.
    """

    def __init__(self, host: RepositoryHost, repository: str, meter: Meter, scopes: frozenset[str]) -> None:
        super().__init__(host.settings.options.attempts, failure)
        self.host = host
        self.repository = repository
        self._meter = meter
        self._scopes = scopes

    @property
    def name(self) -> str:
        """``host/repository``, for messages."""
        return f"{self.host.name}/{self.repository}"

    @property
    def writes(self) -> bool:
        """Whether it is asked in order to push, so that lists are optional, and worth one try each."""
        return any(scope.rpartition(":")[2] == "pull,push" for scope in self._scopes)

    def widened(self, *scopes: str) -> Access:
        """Return the same with more scopes."""
        return Access(self.host, self.repository, self._meter, self._scopes | frozenset(scopes))

    def server(self, request: Request) -> str:  # noqa: ARG002 - every request begins at the repository's host
        """Return the host as the user spells it."""
        return self.host.name

    def exchange(self, request: Request) -> Reply:
        """Send once, with credentials; any status is returned."""
        target = request.target
        if not target.startswith(("/", "http://", "https://")):
            target = f"/v2/{self.repository}/{target}"
        return self.host.exchange(replace(request, target=target), self._scopes, self._meter)

    def redirected(self, request: Request, here: Origin | None = None) -> Reply:  # noqa: ARG002 - it is always the host
        """Send a GET for a URL that a redirect named, with credentials only on the host's own origin."""
        return self.host.fetch(request, self._scopes, self._meter)
