"""Options of many verbs: what they fill, and the variables that stand for them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click
import pytest

from haulout.cli import options
from haulout.cli.main import main
from haulout.cli.session import Session
from haulout.cli.tree import Verb, Verbs, haulout
from haulout.http import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("HAULOUT_"):
            monkeypatch.delenv(name)


def parsed(*arguments: str) -> Session:
    """Return the session that a command line leaves, without running the verb."""
    session = Session()
    with haulout.make_context("haulout", list(arguments), obj=session) as context:
        verb = haulout.get_command(context, context._protected_args[0])
        assert verb is not None
        verb.make_context(verb.name, [*context._protected_args[1:], *context.args], parent=context)
    return session


def below(group: Verbs, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.verbs:
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, Verbs):
            yield from below(command, inner)
        else:
            yield command, inner


def test_the_connection_is_what_the_options_say():
    session = parsed("resolve", "oci:x:1", "--timeout", "2.5", "--retries", "0", "--limit-rate", "1.5M")
    found = session.connections()
    assert (found.connect_seconds, found.stall_seconds, found.attempts) == (2.5, 2.5, 1)
    assert isinstance(found.on_bytes, RateLimit)
    assert found.on_bytes.rate == 1.5 * 1024 * 1024
    assert session.connections().on_bytes is found.on_bytes


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2000", 2000), ("500K", 512000), ("500k", 512000), ("10MiB/s", 10 * 1024**2), ("1.5G", 1.5 * 1024**3)],
)
def test_rates_are_written_as_curl_and_wget_write_them(text, rate):
    limit = parsed("resolve", "oci:x:1", "--limit-rate", text).connections().on_bytes
    assert isinstance(limit, RateLimit)
    assert limit.rate == rate


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--limit-rate", "0", "--limit-rate takes bytes per second, 1K or more, not '0'"),
        ("--limit-rate", "1", "--limit-rate takes bytes per second, 1K or more, not '1'"),
        ("--limit-rate", "-1M", "--limit-rate takes bytes per second, 1K or more, not '-1M'"),
        ("--limit-rate", "fast", "--limit-rate takes bytes per second, 1K or more, not 'fast'"),
        ("--limit-rate", "9" * 15 + "T", "--limit-rate takes bytes per second"),
        ("--timeout", "nan", "--timeout takes a number from 1 to 86400, not 'nan'"),
        ("--timeout", "inf", "--timeout takes a number from 1 to 86400, not 'inf'"),
        ("--timeout", "0", "--timeout takes a number from 1 to 86400, not '0'"),
        ("--retries", "-1", "--retries takes a number from 0 to 100, not '-1'"),
        ("--retries", "many", "--retries takes a number from 0 to 100, not 'many'"),
        ("--jobs", "0", "--jobs takes a number from 1 to 256, not '0'"),
    ],
)
def test_values_that_make_no_sense_are_refused_in_one_line(capsys, option, value, said):
    assert main(["pull", "oci:x:1", f"{option}={value}"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") <= 2


@pytest.mark.parametrize(
    "words",
    [
        ("push", "oci:x:1", "disk"),
        ("copy", "oci:x:1", "oci:y:1"),
        ("sync", "oci:x", "oci:y"),
        ("attach", "oci:x:1", "file", "--type", "a/b"),
        ("delta", "oci:x:1", "oci:x:2"),
    ],
    ids=" ".join,
)
def test_verbs_that_send_blobs_can_send_them_in_pieces(words):
    assert parsed(*words, "--upload-chunk", "8M").connections().upload_chunk == 8 << 20


def test_pieces_have_a_least_size(capsys):
    assert main(["push", "oci:x:1", "disk", "--upload-chunk", "1K"]) == 2
    assert "--upload-chunk takes a size from 64K to 64M, not '1K'" in capsys.readouterr().err


def test_hosts_that_are_trusted_are_collected(monkeypatch):
    found = parsed("pull", "oci:x:1", "--allow-host", "a", "--allow-host", "b:5000")
    assert found.connections().allowed_hosts == ("a", "b:5000")
    monkeypatch.setenv("HAULOUT_ALLOW_HOST", "c d:1")
    assert parsed("pull", "oci:x:1").connections().allowed_hosts == ("c", "d:1")


def test_a_variable_stands_for_an_option_of_every_verb_or_of_one(monkeypatch):
    monkeypatch.setenv("HAULOUT_RETRIES", "7")
    assert parsed("resolve", "oci:x:1").connections().attempts == 8
    monkeypatch.setenv("HAULOUT_RESOLVE_RETRIES", "1")
    assert parsed("resolve", "oci:x:1").connections().attempts == 2
    assert parsed("inspect", "oci:x:1").connections().attempts == 8
    assert parsed("resolve", "oci:x:1", "--retries", "0").connections().attempts == 1


def test_a_variable_never_undoes_the_command_line(monkeypatch):
    monkeypatch.setenv("HAULOUT_PROGRESS", "json")
    assert parsed("resolve", "oci:x:1").progress_mode == "json"
    assert parsed("--progress", "plain", "resolve", "oci:x:1").progress_mode == "plain"
    assert parsed("resolve", "oci:x:1", "--progress", "plain").progress_mode == "plain"
    monkeypatch.setenv("HAULOUT_RESOLVE_PROGRESS", "none")
    assert parsed("resolve", "oci:x:1").progress_mode == "none"
    assert parsed("--progress", "plain", "resolve", "oci:x:1").progress_mode == "plain"


@pytest.mark.parametrize(("value", "wanted"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_a_variable_stands_for_a_flag(monkeypatch, value, wanted):
    monkeypatch.setenv("HAULOUT_JSON", value)
    assert parsed("resolve", "oci:x:1").as_json is wanted


def test_an_option_of_one_verb_has_the_variable_of_that_verb_only(monkeypatch, capsys):
    monkeypatch.setenv("HAULOUT_TYPE", "nonsense")
    monkeypatch.setenv("HAULOUT_RESOLVE_TYPE", "nowhere")
    assert main(["resolve", "oci:missing:1"]) == 2
    assert "nowhere" in capsys.readouterr().err
    monkeypatch.delenv("HAULOUT_RESOLVE_TYPE")
    assert main(["resolve", "oci:missing:1"]) != 2


def test_the_message_names_the_variable_whose_value_is_wrong(monkeypatch, capsys):
    monkeypatch.setenv("HAULOUT_JOBS", "0")
    assert main(["pull", "oci:x:1"]) == 2
    assert "HAULOUT_JOBS takes a number from 1 to 256, not '0'" in capsys.readouterr().err
    monkeypatch.delenv("HAULOUT_JOBS")
    monkeypatch.setenv("HAULOUT_PROGRESS", "loud")
    assert main(["pull", "oci:x:1"]) == 2
    assert "HAULOUT_PROGRESS" in capsys.readouterr().err


def test_errors_are_reported_as_the_variables_say(monkeypatch, capsys):
    monkeypatch.setenv("HAULOUT_JSON", "1")
    monkeypatch.setenv("HAULOUT_PROGRESS", "json")
    assert main(["pull", "--no-such-option"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["kind"] == "UsageError"
    assert json.loads(told.err)["event"] == "error"


def test_every_option_of_every_verb_has_a_variable_and_no_two_share_one():
    context = click.Context(haulout, info_name="haulout")
    for verb, inner in below(haulout, context):
        assert isinstance(verb, Verb)
        options.read_environment(inner)
        found = [p for p in verb.get_params(inner) if isinstance(p, click.Option) and not p.is_eager]
        names = [p.envvar if isinstance(p.envvar, str) else p.envvar[0] for p in found if p.envvar]
        assert len(names) == len(found) == len(set(names)), inner.command_path


CHANGING = {
    *("attach", "copy", "delete", "detach", "prune", "pull", "push", "sync", "tag"),
    *("cache prune",),
}


def test_what_changes_something_has_a_dry_run():
    having = {
        context.command_path.removeprefix("haulout ")
        for command, context in below(haulout, click.Context(haulout, info_name="haulout"))
        if any("--dry-run" in option.opts for option in command.params)
    }
    assert having >= CHANGING
