"""Runs credential helpers: ``docker-credential-NAME get|store|erase`` (docker-credential-helpers protocol)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from haulout.errors import HauloutError, ToolError
from haulout.registry.options import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from haulout.local import Finished

SECONDS: Final = 30.0
"""Longest wait for a helper; one that asks a person has this long."""
MAX_ANSWER: Final = 1024 * 1024
_NOT_FOUND: Final = "credentials not found"


def get(name: str, server: str, environment: Mapping[str, str]) -> Credentials | None:
    """Ask a helper for a server's credentials; None where it has none.

    Raises:
        ToolError: it is missing, fails, takes too long, or answers something else. Its answer is never quoted.
    """
    done = _run(name, "get", server, environment)
    if done.code != 0:
        said = (done.out + done.err).decode(errors="replace")
        if _NOT_FOUND in said.lower():
            return None
        raise ToolError(_program(name), f"failed for {server} with exit code {done.code}")
    try:
        answer: Any = json.loads(done.out[:MAX_ANSWER])
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ToolError(_program(name), f"gave an invalid answer for {server}") from exc
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ToolError(_program(name), f"gave an invalid answer for {server}")
    if not username and not secret:
        return None
    # docker-credential-helpers: this user name marks an identity token.
    return Credentials("", identity_token=secret) if username == "<token>" else Credentials(username, secret)


def get_or_note(
    name: str, server: str, environment: Mapping[str, str], note: Callable[[str], None]
) -> Credentials | None:
    """Ask a helper that serves all hosts; where it fails, note it and continue without: the content may be public."""
    try:
        return get(name, server, environment)
    except HauloutError as error:
        note(f"continuing without credentials: {error}")
        return None


def store(name: str, server: str, credentials: Credentials, environment: Mapping[str, str]) -> None:
    """Hand credentials to a helper.

    Raises:
        ToolError: it is missing or refuses.
    """
    document = {"ServerURL": server, "Username": credentials.username, "Secret": credentials.password}
    done = _run(name, "store", json.dumps(document), environment)
    if done.code != 0:
        raise ToolError(_program(name), f"failed to store the credentials of {server} (exit code {done.code})")


def erase(name: str, server: str, environment: Mapping[str, str]) -> bool:
    """Make a helper forget a server; False where it knew nothing.

    Raises:
        ToolError: it is missing or refuses.
    """
    if get(name, server, environment) is None:
        return False
    done = _run(name, "erase", server, environment)
    if done.code != 0:
        raise ToolError(_program(name), f"failed to erase the credentials of {server} (exit code {done.code})")
    return True


def _program(name: str) -> str:
    return f"docker-credential-{name}"


def _run(name: str, verb: str, text: str, environment: Mapping[str, str]) -> Finished:
    if not name or "/" in name or "\0" in name:
        raise ToolError(_program(name[:40]), "is not the name of a credential helper")
    from haulout.local import run  # noqa: PLC0415 - most hosts have no helper

    hint = "the credentials file names it for this host"
    return run([_program(name), verb], seconds=SECONDS, stdin=text.encode(), environment=environment, hint=hint)
