"""Finds credentials where podman, skopeo and docker keep them (containers-auth.json(5)).

Order: ``$REGISTRY_AUTH_FILE`` alone where it is set; else
``$XDG_RUNTIME_DIR/containers/auth.json``, ``$XDG_CONFIG_HOME/containers/auth.json``, the variable
``DOCKER_AUTH_CONFIG``, which holds the JSON of a file of docker's (GitLab CI, docker),
``$DOCKER_CONFIG/config.json`` or ``~/.docker/config.json``, ``~/.dockercfg``.
In each, a helper for the host comes first, then the entry with the longest matching path.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import UsageError
from haulout.local import home_of
from haulout.registry.auth import helpers
from haulout.registry.options import Credentials
from haulout.registry.quirks import DOCKER_HUB_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_FILE: Final = 4 * 1024 * 1024
_DOCKER_FILE: Final = "config.json"
_API_PATHS: Final = frozenset({"", "v1", "v2"})
DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
"""Under which every tool keeps the credentials of docker.io."""


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One auth.json, config.json or .dockercfg; secrets are not shown."""

    name: str
    """For messages."""
    auths: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cred_helpers: Mapping[str, str] = field(default_factory=dict)
    creds_store: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Everything in the file, kept when it is written again."""


def auth_paths(environment: Mapping[str, str]) -> tuple[tuple[Path, bool], ...]:
    """List the files to look into, in order; True marks the old ``.dockercfg`` form."""
    explicit = environment.get("REGISTRY_AUTH_FILE")
    if explicit:
        return ((Path(explicit), False),)
    home = home_of(environment)
    runtime = environment.get("XDG_RUNTIME_DIR")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    found = [(Path(runtime) / "containers/auth.json", False)] if runtime else []
    found += [(config / "containers/auth.json", False), (docker / _DOCKER_FILE, False), (home / ".dockercfg", True)]
    return tuple(found)


def find_credentials(
    host: str,
    repository: str,
    environment: Mapping[str, str],
    *,
    more_helpers: tuple[str, ...] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Credentials | None:
    """Find the credentials for one repository; None where there are none.

    Args:
        host: as in the reference.
        repository: without the host; "" where only the host matters.
        environment: for the locations, and for helpers.
        more_helpers: ``credential-helpers`` of registries.conf, asked in order; the name ``containers-auth.json``
            stands for the files.
        note: called where a helper for all hosts fails, since the repository may be public.

    Raises:
        UsageError: a file is there but is not understood, or the one that the environment names is not there.
        ToolError: a helper configured for this very host fails.
    """
    for helper in more_helpers or ("containers-auth.json",):
        if helper == "containers-auth.json":
            found = _from_files(host, repository, environment, note)
        else:
            found = helpers.get(helper, host, environment)
        if found is not None:
            return found
    return None


def _from_files(
    host: str, repository: str, environment: Mapping[str, str], note: Callable[[str], None]
) -> Credentials | None:
    for file in _sources(environment):
        helper = find_helper(file.cred_helpers, host)
        if helper:
            found = helpers.get(helper, server_key(host), environment)
            if found is not None:
                return found
        entry = find_entry(file.auths, host, repository)
        if file.creds_store and (entry is None or not entry_credentials(entry, file.name)):
            found = helpers.get_or_note(file.creds_store, server_key(host), environment, note)
            if found is not None:
                return found
        found = None if entry is None else entry_credentials(entry, file.name)
        if found is not None:
            return found
    return None


def _sources(environment: Mapping[str, str]) -> Iterator[AuthFile]:
    named, inline = environment.get("REGISTRY_AUTH_FILE"), environment.get("DOCKER_AUTH_CONFIG")
    for path, is_legacy in auth_paths(environment):
        if inline and not named and path.name == _DOCKER_FILE:
            yield _parsed(inline.encode(errors="surrogateescape"), "the variable DOCKER_AUTH_CONFIG")
        file = read_auth_file(path, is_legacy=is_legacy)
        if file is not None:
            yield file
        elif named:
            # As podman does: to go on without credentials only brings an error that hides the cause.
            raise UsageError(
                f"there is no file {path}, which REGISTRY_AUTH_FILE names",
                hint="correct or unset the variable, or create the file: haulout login HOST",
            )


def read_auth_file(path: Path, *, is_legacy: bool = False) -> AuthFile | None:
    """Read one file; None where it is absent.

    Raises:
        UsageError: it cannot be read, or is not what it should be.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise UsageError(f"the credentials file {path} cannot be read: {exc.strerror}") from exc
    return _parsed(text, f"the credentials file {path}", is_legacy=is_legacy)


def _parsed(text: bytes, name: str, *, is_legacy: bool = False) -> AuthFile:
    if not text.strip():
        return AuthFile(name)
    try:
        document = json.loads(text if len(text) <= MAX_FILE else b"")
    except (ValueError, RecursionError) as exc:
        # The parser's own message may quote what is in the file.
        raise UsageError(f"{name} is not JSON", hint="correct it, or log in: haulout login HOST") from exc
    # A member that is null is one that is not there, as Go reads it.
    found = document if not is_legacy else {"auths": document}
    members = _without_null(found) if isinstance(found, dict) else {"auths": None}
    auths: Any = members.get("auths", {})
    cred_helpers: Any = members.get("credHelpers", {})
    if isinstance(cred_helpers, dict):
        cred_helpers = _without_null(cred_helpers)
    store = members.get("credsStore", "")
    if (
        not isinstance(auths, dict)
        or not isinstance(cred_helpers, dict)
        or not all(isinstance(value, str) for value in cred_helpers.values())
        or not isinstance(store, str)
    ):
        raise UsageError(f"{name} is not in the form of containers-auth.json(5)")
    return AuthFile(name, auths, cred_helpers, store, document)


def _without_null(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def server_key(host: str) -> str:
    """Return the name under which helpers and files keep a host."""
    return DOCKER_HUB_KEY if host in DOCKER_HUB_HOSTS else host


def find_helper(helpers_by_host: Mapping[str, str], host: str) -> str | None:
    """Find the helper for a host, however its key is written."""
    names = DOCKER_HUB_HOSTS if host in DOCKER_HUB_HOSTS else {host}
    found = (helper for key, helper in helpers_by_host.items() if _host_of(key) in names and helper)
    return helpers_by_host.get(host) or next(found, None)


def find_entry(auths: Mapping[str, Any], host: str, repository: str) -> Mapping[str, Any] | None:
    """Find the entry with the longest path that covers ``host/repository``."""
    names = ["docker.io", *DOCKER_HUB_HOSTS] if host in DOCKER_HUB_HOSTS else [host]
    path = repository
    while path:
        for key in [f"{name}/{path}{end}" for name in names for end in ("", "/")]:
            if isinstance(auths.get(key), dict):
                return auths[key]  # type: ignore[no-any-return]
        path = path.rpartition("/")[0]
    for key in [*names, server_key(host)]:
        if isinstance(auths.get(key), dict):
            return auths[key]  # type: ignore[no-any-return]
    for key, entry in auths.items():
        if isinstance(entry, dict) and _host_of(key) in names:
            return entry
    return None


def entry_credentials(entry: Mapping[str, Any], name: str) -> Credentials | None:
    """Decode an entry; None for an empty one, which only means that a helper knows more.

    Raises:
        UsageError: it is not base64 of ``user:password``.
    """
    token = entry.get("identitytoken") or ""
    encoded = entry.get("auth") or ""
    if not isinstance(token, str) or not isinstance(encoded, str):
        raise UsageError(f"{name} has an entry that is not text")
    username = password = ""
    if encoded:
        try:
            # Go's decoder passes over line breaks, which people's editors and YAML bring along. A password may be in
            # any encoding; it is sent as it is.
            plain = base64.b64decode(encoded.replace("\n", "").replace("\r", ""), validate=True)
            username, colon, password = plain.decode(errors="surrogateescape").partition(":")
        except (binascii.Error, ValueError) as exc:
            raise UsageError(f"{name} has an entry that is not base64 of user:password") from exc
        if not colon:
            raise UsageError(f"{name} has an entry that is not base64 of user:password")
    elif isinstance(entry.get("username"), str) and isinstance(entry.get("password"), str):
        username, password = entry["username"], entry["password"]
    if not username and not token:
        return None
    return Credentials(username, password.strip("\0"), token)


def encode_entry(credentials: Credentials) -> dict[str, str]:
    """Write an entry as podman login does."""
    return {"auth": base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()}


def _host_of(key: str) -> str:
    """Return the host of a key that is a URL, or a host and the path of an API, as docker wrote them; "" for others."""
    scheme, is_url, rest = key.partition("://")
    host, _, path = (rest if is_url else scheme).partition("/")
    return host.lower() if is_url or path.strip("/") in _API_PATHS else ""
