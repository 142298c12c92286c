"""``haulout completion``: the script that makes a shell complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb
from haulout.cli.tree import haulout as tree

if TYPE_CHECKING:
    from haulout.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Verb,
    examples=(
        Example("haulout completion bash > haulout.bash", "write the script for bash; source it from ~/.bashrc"),
        Example(
            "haulout completion fish > haulout.fish",
            "write the script for fish; it belongs into ~/.config/fish/completions",
        ),
    ),
)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(SHELLS))
@options.common
@click.pass_obj
def command(session: Session, shell: str) -> None:
    """Print a completion script for a shell.

    It completes verbs, options, processors, disk types, formats and files.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    # Not .source(): for bash that starts a bash to see how old it is.
    maker = kind(tree, {}, "haulout", "_HAULOUT_COMPLETE")
    script = maker.source_template % maker.source_vars()
    if session.as_json:
        session.result("completion", {"shell": shell, "script": script}, ())
    else:
        click.echo(script)
