"""``haulout completion``: the script that makes a shell complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from haulout.cli import options
from haulout.cli.tree import Example, Verb
from haulout.cli.tree import haulout as tree
from haulout.errors import UsageError

if TYPE_CHECKING:
    from haulout.cli.session import Session

SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/haulout"),
    "zsh": ("ZDOTDIR", ".", ".zfunc/_haulout"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/haulout.fish"),
}
"""For each shell the variable that names a folder, that folder below the home directory, and the file in it."""
_NEXT: Final = {
    "bash": "it takes effect in new shells, if the package bash-completion is installed",
    "zsh": "add to ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)",
    "fish": "it takes effect in new shells",
}
# Sourced from ~/.zshrc before compinit, click's script fails at its last line.
_ZSH_GUARD: Final = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@click.command(
    "completion",
    cls=Verb,
    examples=(
        Example("haulout completion bash --install", "install completion for bash, for this user"),
        Example("haulout completion zsh > _haulout", "write the script for zsh; it belongs into a folder of $fpath"),
        Example("haulout completion fish > haulout.fish", "write the script for fish"),
    ),
)
@click.argument("shell", metavar="[bash|zsh|fish]", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Install the script for this user, instead of printing it.")
@options.common
@click.pass_obj
def command(session: Session, shell: str | None, install: bool) -> None:
    """Print or install a completion script for a shell.

    Without a name, it is for the shell in $SHELL.

    It completes verbs, options, processors, disk types, formats and files.
    """
    shell = shell or _shell_here()
    text = script(shell)
    if not install:
        if session.as_json:
            session.result("completion", {"shell": shell, "script": text}, ())
        else:
            click.echo(text)
        return
    from haulout.local import replace_file, storage_errors  # noqa: PLC0415 - only to install

    path = _target(shell)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, f"{text}\n".encode())
    session.result(
        "completion",
        {"shell": shell, "script": text, "path": str(path)},
        (f"installed {path}", f"  {_NEXT[shell]}"),
        brief=str(path),
    )


def script(shell: str) -> str:
    """Return the completion script for ``shell``."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    # Not .source(): for bash that starts a bash to see how old it is.
    maker = kind(tree, {}, "haulout", "_HAULOUT_COMPLETE")
    text = maker.source_template % maker.source_vars()
    # The first line has to stay the first: #compdef.
    head, _, rest = text.partition("\n")
    return f"{head}\n\n{_ZSH_GUARD}{rest}" if shell == "zsh" else text


def _shell_here() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise UsageError(f"$SHELL names an unknown shell: {name!r}", hint=f"name one of {', '.join(SHELLS)}")
    return name


def _target(shell: str) -> Path:
    from haulout.local import home_of  # noqa: PLC0415 - only to install

    variable, below, file = _FILES[shell]
    return Path(os.environ.get(variable) or home_of(os.environ) / below) / file
