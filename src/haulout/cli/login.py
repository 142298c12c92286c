"""``haulout login``: check and store credentials for a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session

_LONGEST: Final = 64 * 1024
"""Characters of a password read from standard input: tokens of clouds have a few thousand."""


@click.command(
    "login",
    cls=Verb,
    short_help="Check and store credentials for a registry.",
    examples=(
        Example(
            "haulout login registry.example.com -u builder --password-stdin < token",
            "log in with a token from a file; without --password-stdin you are asked for a password",
        ),
    ),
)
@click.argument("host", metavar="HOST")
@click.option("-u", "--user", metavar="USER", help="User name; asked for if left out.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@options.registry
@options.common
@click.pass_obj
def command(session: Session, host: str, user: str | None, password_stdin: bool) -> None:
    """Check credentials with the registry HOST, and store them where podman and docker look for them.

    There is no option for the password, because every user of the machine can read command lines.
    """
    if user is None:
        user = _asked("user name", hidden=False)
    from haulout.registry import check_user, login, registry_host  # noqa: PLC0415 - loads the HTTP client

    host = registry_host(host)
    check_user(user)
    password = _from_stdin() if password_stdin else _asked(f"password for {user} at {host}", hidden=True)
    if not password:
        raise UsageError("the password must not be empty")
    stored = login(host, user, password, options=session.connections())
    session.result(
        "login",
        {"host": host, "user": user, "stored_in": stored},
        (f"logged in to {host} as {user}; credentials stored in {stored}",),
        brief="",
    )


def _asked(what: str, *, hidden: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"no terminal to ask for the {what}", hint="use -u USER and --password-stdin")
    answer: str = click.prompt(what, hide_input=hidden, err=True)
    return answer


def _from_stdin() -> str:
    try:
        text = sys.stdin.read(_LONGEST + 1)
    except UnicodeDecodeError as exc:
        raise UsageError("the password on standard input is not text") from exc
    if len(text) > _LONGEST:
        raise UsageError(f"the password on standard input is longer than {_LONGEST} characters")
    # One line end belongs to the echo or the editor, not to the password.
    return text.removesuffix("\n").removesuffix("\r")
