"""People who come from other tools are told what a thing is called here."""

from __future__ import annotations

import json
import re

import pytest

import haulout
from haulout.cli import other_tools
from haulout.cli.machine import VERBS as MACHINE_VERBS
from haulout.cli.main import main
from haulout.cli.tree import VERBS


def hint(capsys, *arguments):
    assert main(list(arguments)) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2, told
    return told[1].removeprefix("  hint: ")


@pytest.mark.parametrize(
    "name", ["ls", "list", "LIST", "images", "create", "rm", "help", "version", "update", "upload", "build", "digest"]
)
def test_a_verb_of_other_tools_leads_to_ours(capsys, name):
    said = hint(capsys, name, "x")
    verbs = re.findall(r"haulout ([a-z]+)", said)
    assert "haulout " in said
    assert set(verbs) <= set(VERBS)


def test_every_name_in_the_table_leads_somewhere():
    for names, _, _ in other_tools._VERBS:
        for name in names:
            assert name in VERBS or other_tools.verb_hint(name, VERBS) is not None, name


def test_a_verb_of_other_machine_tools_leads_to_ours(capsys):
    for names, ours, text in other_tools._MACHINE_VERBS:
        assert ours in MACHINE_VERBS
        for name in names:
            assert name not in MACHINE_VERBS
            assert hint(capsys, "machine", name, "web") == text
        assert re.search(r"haulout machine ([a-z]+)", text)[1] == ours  # type: ignore[index]  # it is there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pull", "oci:x:1", "--platform", "linux/arm64"), "use --arch or --type"),
        (("pull", "oci:x:1", "--tls-verify=false"), "use --insecure or --plain-http"),
        (("pull", "oci:x:1", "--format", "json"), "use --json"),
        (("resolve", "oci:x:1", "--password", "x"), "use haulout login HOST"),
        (("login", "h", "-p", "x"), "use --password-stdin"),
        (("pull", "-v", "oci:x:1"), "use --debug-http or --debug"),
        (("pull", "oci:x:1", "--authfile", "x"), "use the variable REGISTRY_AUTH_FILE"),
        (("pull", "oci:x:1", "--retry-times", "3"), "use --retries"),
        (("-V",), "use --version"),
        (("--versoin",), "did you mean --version?"),
        (("pull", "oci:x:1", "--ouput", "x"), "did you mean --output?"),
        (("pull", "oci:x:1", "--zzz"), "see haulout pull --help"),
    ],
)
def test_an_option_of_other_tools_leads_to_ours(capsys, arguments, said):
    assert hint(capsys, *arguments) == said


def test_a_wrong_argument_is_named_without_the_grammar(capsys):
    assert main(["completion", "powershell"]) == 2
    assert capsys.readouterr().err.startswith("haulout: 'powershell' is not one of 'bash', 'zsh', 'fish'")


@pytest.mark.parametrize("arguments", [("--version", "--json"), ("--json", "--version")])
def test_the_version_for_programs(capsys, arguments):
    assert main(list(arguments)) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "verb": "version", "version": haulout.__version__}


@pytest.mark.parametrize("word", ["oci:{}:1", "{}", "r.test/{}:1"])
def test_a_message_does_not_repeat_thousands_of_characters(capsys, word):
    assert main(["resolve", word.format("d" * 6000)]) != 0
    assert len(capsys.readouterr().err) < 800


@pytest.mark.parametrize("verb", ["login", "pull", "tags"])
def test_an_argument_that_is_missing_is_named(capsys, verb):
    assert main([verb]) == 2
    assert capsys.readouterr().err.startswith("haulout: missing argument '")
