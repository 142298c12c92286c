"""``haulout broker rotate``: another key-encryption key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.broker import params
from haulout.cli.tree import Example, Verb

if TYPE_CHECKING:
    from pathlib import Path

    from haulout.cli.session import Session


@click.command(
    "rotate",
    cls=Verb,
    examples=(Example("haulout broker rotate --state broker --forget", "encrypt all keys at rest by a new key"),),
)
@params.state
@click.option("--no-new-key", is_flag=True, help="Make no key: the first one in the file encrypts.")
@click.option("--signing-key", is_flag=True, help="Also make a new key that signs tokens; the last one still counts.")
@click.option("--forget", is_flag=True, help="Remove keys from the file that nothing is encrypted by any more.")
@options.common
@click.pass_obj
def command(session: Session, folder: Path, no_new_key: bool, signing_key: bool, forget: bool) -> int:
    """Encrypt all keys at rest by another key-encryption key, while instances go on serving.

    Instances that share the file learn of the new key by themselves. Where they have copies of it, put the new key
    first in each copy, and then use --no-new-key.
    """
    from haulout.brokers import broker_rotate  # noqa: PLC0415 - loads the database

    done = broker_rotate(folder, new_key=not no_new_key, signing_key=signing_key, forget=forget)
    session.result(
        "broker rotate",
        done.to_dict(),
        [f"{done.current} encrypts from now on; {done.wrapped} keys encrypted anew, {done.forgotten} forgotten"],
        brief=done.current,
    )
    return 0
