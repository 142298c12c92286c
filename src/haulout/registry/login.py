"""Stores and removes credentials where podman, skopeo and docker find them too."""

from __future__ import annotations

import json
import os
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import DeniedError, InvalidReference, UsageError
from haulout.http import Meter, Request, Transport
from haulout.local import PRIVATE, home_of, locked, replacing, storage_errors
from haulout.oci import RegistryReference, parse_reference
from haulout.registry.access import Access
from haulout.registry.auth import helpers
from haulout.registry.auth.credentials import auth_paths, encode_entry, find_helper, read_auth_file, server_key
from haulout.registry.errcode import failure
from haulout.registry.host import HostMemory, RepositoryHost, settings_for
from haulout.registry.options import ConnectionOptions, Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOCK_SECONDS: Final = 10.0


def login(
    host: str,
    user: str,
    password: str,
    *,
    options: ConnectionOptions | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Verify credentials with a registry, then store them.

    They go to the helper configured for the host, else into ``$REGISTRY_AUTH_FILE``,
    ``$XDG_RUNTIME_DIR/containers/auth.json`` or ``~/.config/containers/auth.json``, readable by the user only; other
    entries stay, and a crash leaves the old file.

    Returns:
        Where they are stored, for people.

    Raises:
        UsageError: that is not a host, or the user name cannot be sent (RFC 7617, section 2).
        DeniedError: the registry refuses them; nothing is stored.
        UnreachableError, RegistryError: it does not answer.
        StorageError: the file cannot be written.
        ToolError: the helper fails.
    """
    host = registry_host(host)
    check_user(user)
    if any("\ud800" <= letter <= "\udfff" for letter in password):
        raise UsageError("the password is not UTF-8 text")
    surroundings = dict(os.environ if environment is None else environment)
    credentials = Credentials(user, password)
    _verify(host, credentials, options or ConnectionOptions(), surroundings)
    helper = _helper_for(host, surroundings)
    if helper is not None:
        helpers.store(helper, server_key(host), credentials, surroundings)
        return f"docker-credential-{helper}"
    path = _path(surroundings)

    def keep(document: dict[str, Any]) -> None:
        document.setdefault("auths", {})[_file_key(host)] = encode_entry(credentials)

    _rewrite(path, keep)
    return os.fspath(path)


def registry_host(text: str) -> str:
    """Return the host that a user means: as in references, or as the URL that other tools show.

    Raises:
        UsageError: it is not a host.
    """
    bare = text.strip().partition("://")[2] or text.strip()
    for end in ("/", "/v1", "/v2"):
        bare = bare.removesuffix(end)
    try:
        found = parse_reference(f"{bare}/name:tag")
    except InvalidReference:
        found = None
    if not isinstance(found, RegistryReference) or found.repository.removeprefix("library/") != "name":
        raise UsageError(f"not a registry host: {text[:80]!r}", hint="write HOST or HOST:PORT, such as quay.io")
    return found.host


def check_user(user: str) -> None:
    """Refuse a user name that no registry could tell from the password, or that is not text.

    Raises:
        UsageError: it is empty, not UTF-8, or has a colon or control characters (RFC 7617, section 2).
    """
    if not user:
        raise UsageError("the user name is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in user):
        raise UsageError("the user name is not UTF-8 text")
    if ":" in user or any(unicodedata.category(letter) == "Cc" for letter in user):
        raise UsageError(
            "the user name has a colon or a control character in it", hint="the password goes to --password-stdin"
        )


def logout(host: str, *, environment: Mapping[str, str] | None = None) -> bool:
    """Remove what :func:`login` stored for a host, wherever it is.

    Returns:
        Whether there was anything to remove.

    Raises:
        StorageError: a file cannot be written.
        ToolError: the helper fails.
    """
    surroundings = dict(os.environ if environment is None else environment)
    helper = _helper_for(host, surroundings)
    forgotten = helper is not None and helpers.erase(helper, server_key(host), surroundings)
    keys = {host, server_key(host), _file_key(host)}
    with suppress(UsageError):
        keys |= {key(registry_host(host)) for key in (str, server_key, _file_key)}
    for path, is_legacy in auth_paths(surroundings):
        file = None if is_legacy else read_auth_file(path)
        if file is None or not keys & set(file.auths):
            continue

        def forget(document: dict[str, Any]) -> None:
            for key in keys:
                document.get("auths", {}).pop(key, None)

        _rewrite(path, forget)
        forgotten = True
    return forgotten


def _verify(host: str, credentials: Credentials, options: ConnectionOptions, environment: Mapping[str, str]) -> None:
    transport = Transport(options, environment)
    try:
        settings = settings_for(host, environment, options, plain_http=options.plain_http, insecure=options.insecure)
        party = RepositoryHost(settings, transport, HostMemory(), lambda: credentials, lambda _: None)
        access = Access(party, "", Meter(), frozenset())
        accept = frozenset({200, 401, 403})
        what = f"login to {host}"
        answer = access.read(Request("GET", "/v2/"), what=what, accept=accept)
        if answer.limits_rate:
            raise failure(answer, what, host)
        if answer.status != 200:
            raise DeniedError(f"{host} refuses user name and password", hint="nothing has been changed")
    finally:
        transport.close()


def _helper_for(host: str, environment: Mapping[str, str]) -> str | None:
    for path, is_legacy in auth_paths(environment):
        file = read_auth_file(path, is_legacy=is_legacy)
        if file is not None and (helper := find_helper(file.cred_helpers, host) or file.creds_store):
            return helper
    return None


def _file_key(host: str) -> str:
    # podman writes "docker.io"; the old URL is docker's own.
    return "docker.io" if server_key(host) != host else host


def _path(environment: Mapping[str, str]) -> Path:
    explicit = environment.get("REGISTRY_AUTH_FILE")
    if explicit:
        return Path(explicit)
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "containers/auth.json"
    home = home_of(environment)
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a file so that readers see the old one or the new one, and no two changes are lost in each other."""
    with storage_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Through a symbolic link, as dotfile managers use them.
        target = path.resolve()
        with locked(target.parent, seconds=_LOCK_SECONDS, busy=f"{target} is being changed by another program"):
            file = read_auth_file(path)
            document = dict(file.document) if file is not None else {}
            if "auths" in document:
                document["auths"] = dict(document["auths"])
            change(document)
            with replacing(target, mode=PRIVATE) as stream:
                stream.write(json.dumps(document, indent="\t").encode() + b"\n")
