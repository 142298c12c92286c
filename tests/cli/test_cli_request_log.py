"""``--debug-http`` on every verb that talks to a server, and its variable."""

from __future__ import annotations

import base64
import json

import click
import pytest
from tests.support.simulators.registry import Basic, SimulatedRegistry

from haulout.cli.main import main
from haulout.cli.request_log import hide_requests
from haulout.cli.tree import haulout as tree

PASSWORD = "s3cr3t-pass"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    with SimulatedRegistry(auth=Basic("anna", PASSWORD)) as server:
        pair = base64.b64encode(f"anna:{PASSWORD}".encode()).decode()
        (tmp_path / "auth.json").write_text(json.dumps({"auths": {server.host: {"auth": pair}}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        yield server
    hide_requests()


def _requests(text):
    return [line for line in text.splitlines() if line.startswith("#") and " GET " in line]


def test_requests_are_shown_on_stderr_without_secrets(registry, capsys):
    assert main(["resolve", f"{registry.host}/m:1", "--debug-http", "--json"]) == 4
    found = capsys.readouterr()
    shown = _requests(found.err)
    assert f"GET http://{registry.host}/v2/m/manifests/1: 401, " in found.err
    assert f"GET http://{registry.host}/v2/m/manifests/1: 404, " in found.err
    assert "> Authorization: Basic ***" in found.err
    assert PASSWORD not in found.err
    assert base64.b64encode(f"anna:{PASSWORD}".encode()).decode() not in found.err
    assert json.loads(found.out)["error"]["exit_code"] == 4
    # Each once, however often it is asked for.
    main(["resolve", f"{registry.host}/m:1", "--debug-http"])
    assert len(_requests(capsys.readouterr().err)) == len(shown)


def test_the_variable_does_the_same(registry, capsys, monkeypatch):
    monkeypatch.setenv("HAULOUT_DEBUG_HTTP", "0")
    main(["resolve", f"{registry.host}/m:1"])
    assert not _requests(capsys.readouterr().err)
    monkeypatch.setenv("HAULOUT_DEBUG_HTTP", "1")
    main(["resolve", f"{registry.host}/m:1"])
    assert _requests(capsys.readouterr().err)


def test_every_verb_that_reaches_a_server_has_the_option():
    def verbs(group, context):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield from verbs(command, context)
            else:
                yield command

    for command in verbs(tree, click.Context(tree)):
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--plain-http" in options) == ("--debug-http" in options), command.name
