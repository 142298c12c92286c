"""Registries: everything that repositories of one command share."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Self

from haulout.http import Meter, Transport
from haulout.registry.access import Access, ReferrersMemory
from haulout.registry.config import RegistriesConfig, load_config
from haulout.registry.host import HostMemory, RepositoryHost, settings_for
from haulout.registry.options import ConnectionOptions, Credentials
from haulout.registry.repository import Place, RegistryRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from haulout.oci import RegistryReference
    from haulout.registry.config import Endpoint


class Registries:
    """Connection pools, configuration and credentials, shared by threads and repositories. Close it when done."""

    def __init__(
        self,
        options: ConnectionOptions | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        note: Callable[[str], None] | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        """Begin without touching network or files.

        Args:
            options: choices of the command line.
            environment: in place of ``os.environ``: where configuration and credentials are, and proxies.
            note: called with warnings of servers and fallbacks taken, one line each, from any thread.
            on_sent: called each time a request has been sent and its answer is awaited, from any thread.
        """
        self.options = options or ConnectionOptions()
        self._environment = dict(os.environ if environment is None else environment)
        self._note = note or _ignore
        self._transport = Transport(self.options, self._environment, on_sent)
        self._lock = Lock()
        self._config: RegistriesConfig | None = None
        self._schemes: dict[str, HostMemory] = {}
        self._hosts: dict[tuple[str, str, bool, bool], RepositoryHost] = {}
        self._memories: dict[tuple[str, str], ReferrersMemory] = {}

    def repository(self, reference: RegistryReference, *, push: bool = False) -> RegistryRepository:
        """Open the repository a reference names; nothing is sent yet.

        Args:
            reference: only its host and repository count.
            push: ask for permission to write; mirrors and rewritten locations are then left out, so that what is read
                before a change is what will be changed.

        Raises:
            DeniedError: registries.conf blocks it.
            UsageError: a configuration file is broken; names it.
        """
        meter = Meter()
        with self._lock:
            if self._config is None:
                self._config = load_config(self._environment)
            endpoints = self._config.endpoints(reference, "push" if push else "pull")
            actions = "pull,push" if push else "pull"
            places = [self._place(endpoint, reference, actions, meter) for endpoint in endpoints]
        return RegistryRepository(reference, places, meter, self._note)

    def close(self) -> None:
        """Close idle connections. Repositories are useless afterwards."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _place(self, endpoint: Endpoint, reference: RegistryReference, actions: str, meter: Meter) -> Place:
        named = not endpoint.is_mirror
        key = (endpoint.host, endpoint.repository, endpoint.insecure, named)
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = self._host(endpoint, reference, named=named)
        memory = self._memories.setdefault((endpoint.host, endpoint.repository), ReferrersMemory())
        scopes = frozenset({f"repository:{endpoint.repository}:{actions}"})
        return Place(
            Access(host, endpoint.repository, meter, scopes),
            memory,
            digests=endpoint.serves(digest=True),
            tags=endpoint.serves(digest=False),
        )

    def _host(self, endpoint: Endpoint, reference: RegistryReference, *, named: bool) -> RepositoryHost:
        # Options for "the registry" are for the one that the user named, not for mirrors.
        options = self.options
        settings = settings_for(
            endpoint.host,
            self._environment,
            options,
            plain_http=named and options.plain_http,
            insecure=named and options.insecure,
            forgiving=endpoint.insecure,
        )
        assert self._config is not None
        helpers = self._config.credential_helpers
        override = options.credentials if named and endpoint.host == reference.host else None

        def find() -> Credentials | None:
            from haulout.registry.auth.credentials import find_credentials  # noqa: PLC0415 - for a challenge only

            return override or find_credentials(
                endpoint.host, endpoint.repository, self._environment, more_helpers=helpers, note=self._note
            )

        memory = self._schemes.setdefault(endpoint.host, HostMemory())
        return RepositoryHost(settings, self._transport, memory, find, self._note)


def _ignore(_: str) -> None:
    pass
