"""Help, manual pages, completion: one tree, many views; and every example of it runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest
from tests.support.sandbox import ROOT, sandbox
from tests.support.servers import needs

from haulout.cli.manual import pages
from haulout.cli.tree import EXAMPLES, Verb, Verbs
from haulout.cli.tree import haulout as tree

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT_CONTEXT = click.Context(tree, info_name="haulout", **tree.context_settings)


def below(group: Verbs, context: click.Context) -> Iterator[tuple[str, Verb | Verbs, click.Context]]:
    """Yield every verb and every group of verbs, as people write them."""
    for name in group.verbs:
        command = group.get_command(context, name)
        assert isinstance(command, Verb | Verbs)
        inner = click.Context(command, info_name=name, parent=context)
        yield inner.command_path.removeprefix("haulout "), command, inner
        if isinstance(command, Verbs):
            yield from below(command, inner)


assert isinstance(tree, Verbs)
FOUND = list(below(tree, ROOT_CONTEXT))
COMMANDS = {path: command for path, command, _ in FOUND}
CONTEXTS = {path: context for path, _, context in FOUND}
MAY_SAY_NO = {"backport", "backport status", "find"}
"""Verbs whose examples end with 1: the honest answer is no."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with sandbox(tmp_path_factory.mktemp("help"), libraries=True) as made:
        yield made


BOOTING = {"run", "cw guest", "cw run"}
"""Verbs of which an example takes long."""


@pytest.mark.tools
@needs("qemu-img", "docker-registry")
def test_every_example_of_the_help_runs_as_it_stands(place):
    order = [
        "login",
        "push",
        "copy",
        "sync",
        "attach",
        "discover",
        "fetch",
        "detach",
        "resolve",
        "inspect",
        "delta",
        "pull",
        "update-disk",
        "tags",
        "tag",
        "find",
        "prune",
        "delete",
        "cache info",
        "cache prune",
        "cache",
        "completion",
        "logout",
    ]
    order += [
        "backport branch",
        "backport status",
        "backport pick",
        "backport verify",
        "backport log",
        "backport fixes",
    ]
    order += [
        "evidence emulate",
        "cw build",
        "evidence verify",
        "evidence",
        "cw inspect",
        "cw open",
        "cw extract",
        "cw rekey",
        "cw trustee",
        "cw",
    ]
    assert sorted([*order, "backport"]) == sorted(
        name for name in COMMANDS if name not in BOOTING and not name.startswith(("machine", "broker"))
    )
    # Those of machines and guests boot some: tests/integration/test_machine.py, test_confidential.py; of brokers, one
    # goes on: test_broker.py there.
    for name in [*order, "backport"]:
        command = COMMANDS[name]
        assert command.examples, name
        for example in command.examples:
            done = place.shell(example.command)
            allowed = {0, 1} if name in MAY_SAY_NO else {0}
            assert done.code in allowed, f"{example.command}\n{done.out}{done.err}"
    for example in EXAMPLES:
        done = place.shell(example.command)
        assert done.code == 0, f"{example.command}\n{done.err}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_verb_shows_its_examples_and_the_common_options(name):
    command = COMMANDS[name]
    text = command.get_help(CONTEXTS[name])
    for example in command.examples:
        assert f"    {example.command}\n" in f"{text}\n"
    for option in ("--json", "--quiet", "--progress", "--debug", "--help"):
        assert option in text
    registry = (
        name not in {"logout", "completion", "cw guest"}
        and not name.startswith(("backport", "broker", "cache", "evidence"))
        and name != "cw"
    )
    registry &= not name.startswith("machine") or name in {
        "machine init",
        "machine export",
        "machine import",
        "machine update",
        "machine record",
        "machine auto",
    }
    registry |= name.startswith(("broker workload ", "broker policy ")) or name in {
        "broker forecast",
        "broker log",
        "evidence verify",
    }
    for option in ("--plain-http", "--insecure", "--ca-file"):
        assert (option in text) is registry


def test_no_verb_takes_a_password_on_the_command_line():
    for command in COMMANDS.values():
        for parameter in command.params:
            assert "--password" not in parameter.opts


def test_every_option_and_short_help_says_something():
    for name, command in COMMANDS.items():
        assert not command.get_short_help_str(60).endswith("..."), name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("groff") is None, reason="not installed: groff")
def test_manual_pages_render_without_warnings(tmp_path):
    for name, text in pages().items():
        page = tmp_path / name
        page.write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-rCHECKSTYLE=1", str(page)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert done.stderr == ""
        # Bold is written as overstriking where the output is no terminal.
        plain = re.sub(".\b", "", done.stdout)
        assert "EXAMPLES" in plain
        assert "EXIT STATUS" in plain


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("man") is None, reason="not installed: man")
def test_man_itself_shows_a_page():
    done = subprocess.run(
        ["man", "--warnings", "-l", str(ROOT / "docs/man/haulout-pull.1")],
        env={"LANG": "C.UTF-8", "MANWIDTH": "100", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    assert "haulout-pull - fetch one bootable disk from REF" in done.stdout


COMPLETIONS = [
    ("haulout pu", {"push", "pull"}),
    ("haulout pull oci:x:1 --ty", {"--type"}),
    ("haulout pull oci:x:1 --type ", {"qemu", "applehv", "hyperv", "wsl", "vmdk", "iso"}),
    ("haulout pull oci:x:1 --arch a", {"aarch64", "amd64", "arm", "arm64", "armv7l"}),
    ("haulout pull oci:x:1 --as q", {"qcow2"}),
    ("haulout push oci:x:1 --also qemu,h", {"qemu,hyperv"}),
    ("haulout push oci:x:1 disk.q", {"disk.qcow2"}),
    ("haulout --progress j", {"json"}),
    ("haulout backport p", {"pick"}),
    ("haulout backport st", {"status"}),
    ("haulout backport status x --rep", {"--report"}),
    ("haulout evidence v", {"verify"}),
    ("haulout evidence emulate s", {"snp"}),
    ("haulout evidence verify x --pol", {"--policy"}),
    ("haulout completion ", {"bash", "zsh", "fish"}),
]


@pytest.mark.tools
@needs("bash", "qemu-img")
@pytest.mark.parametrize(("line", "expected"), COMPLETIONS, ids=[line for line, _ in COMPLETIONS])
def test_bash_completes_with_the_script_sourced(place, line, expected):
    """Ask a real bash, as readline would: it calls the function that the script registered, and fills COMPREPLY."""
    words = line.split(" ")
    script = f"""
    source <(haulout completion bash)
    COMP_WORDS=({" ".join(f'"{word}"' for word in words)}); COMP_CWORD={len(words) - 1}
    spec=$(complete -p haulout); [[ $spec =~ -F\\ ([^ ]+) ]] || exit 9
    # compopt works only inside of a completion that readline began.
    compopt() {{ :; }}
    "${{BASH_REMATCH[1]}}" haulout "${{COMP_WORDS[COMP_CWORD]}}"
    # Files are left to readline, which has "-o nosort -o default" or compopt for that.
    printf '%s\\n' "${{COMPREPLY[@]}}"
    [[ ${{#COMPREPLY[@]}} -gt 0 && -n ${{COMPREPLY[0]}} ]] || compgen -f "${{COMP_WORDS[COMP_CWORD]}}"
    """
    done = place.shell(script)
    assert done.err == ""
    assert set(done.out.split()) == expected


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete --no-files")])
def test_each_shell_has_a_script(place, shell, mark):
    done = place.haulout("completion", shell)
    assert done.code == 0
    assert mark in done.out
    assert "_HAULOUT_COMPLETE" in done.out
    assert place.haulout("completion", shell, "--json").json["script"].strip() == done.out.strip()


def test_completion_is_installed_for_this_user(place, tmp_path):
    for shell, file in (("bash", "bash-completion/completions/haulout"), ("fish", "fish/completions/haulout.fish")):
        done = place.shell(f"XDG_DATA_HOME={tmp_path} XDG_CONFIG_HOME={tmp_path} haulout completion {shell} --install")
        assert done.code == 0, done.err
        assert done.out.startswith(f"installed {tmp_path}/{file}\n")
        assert (tmp_path / file).read_text().strip() == place.haulout("completion", shell).out.strip()
    done = place.shell("SHELL=/bin/zsh ZDOTDIR=/dev/null haulout completion --install")
    assert done.code == 10
    assert "/dev/null/.zfunc" in done.err


def test_the_shell_is_that_of_the_user_where_none_is_named(place):
    assert place.shell("SHELL=/usr/bin/fish haulout completion").out == place.haulout("completion", "fish").out
    done = place.shell("SHELL=/bin/tcsh haulout completion")
    assert done.code == 2
    assert "name one of bash, zsh, fish" in done.err


@pytest.mark.skipif(shutil.which("zsh") is None, reason="not installed: zsh")
def test_the_script_for_zsh_can_be_sourced_before_compinit(place):
    done = place.shell("zsh -f -c 'source <(haulout completion zsh) && echo ready'")
    assert done.out.strip() == "ready", done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_narrow_terminal(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    command = COMMANDS[name]
    context = command.make_context(CONTEXTS[name].info_name, [], parent=CONTEXTS[name].parent, resilient_parsing=True)
    text = command.get_help(context).partition("\nExamples:")[0]
    options = {" ".join(line.split()) for line in text.splitlines() if line.startswith(("  -", "Usage"))}
    wide = [line for line in text.splitlines() if len(line) > 40 and " ".join(line.split()) not in options]
    assert not wide
