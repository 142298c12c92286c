"""Credentials are found where podman, skopeo and docker keep them, and shown nowhere."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from haulout.errors import ToolError, UsageError
from haulout.registry.auth.credentials import find_credentials, find_entry
from haulout.registry.login import logout
from haulout.registry.options import Credentials


def _auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _write(path, document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document) if isinstance(document, dict) else document)


@pytest.fixture
def home(tmp_path):
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "XDG_RUNTIME_DIR": f"{tmp_path}/run"}


def _helper(home, name: str, script: str) -> None:
    path = Path(home["HOME"]) / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_files_are_asked_in_the_order_of_containers_auth_json(tmp_path, home):
    places = ["run/containers/auth.json", ".config/containers/auth.json", ".docker/config.json"]
    for number, place in reversed(list(enumerate(places))):
        _write(tmp_path / place, {"auths": {"host.example": _auth(f"user{number}", "secret")}})
        found = find_credentials("host.example", "a", home)
        assert found == Credentials(f"user{number}", "secret")


def test_a_file_named_outright_is_the_only_one(tmp_path, home):
    _write(tmp_path / ".docker/config.json", {"auths": {"host.example": _auth("docker", "secret")}})
    _write(tmp_path / "mine.json", {"auths": {}})

    assert find_credentials("host.example", "a", home | {"REGISTRY_AUTH_FILE": str(tmp_path / "mine.json")}) is None


def test_a_file_named_outright_that_is_not_there_is_an_error(home):
    with pytest.raises(UsageError, match="/nowhere, which REGISTRY_AUTH_FILE names"):
        find_credentials("host.example", "a", home | {"REGISTRY_AUTH_FILE": "/nowhere"})


def test_the_variable_comes_after_podmans_files_and_before_dockers(tmp_path, home):
    inline = home | {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"host.example": _auth("variable", "secret")}})}
    _write(
        tmp_path / ".docker/config.json", {"auths": {h: _auth("docker", "x") for h in ("host.example", "b.example")}}
    )
    assert find_credentials("host.example", "a", inline) == Credentials("variable", "secret")
    assert find_credentials("b.example", "a", inline) == Credentials("docker", "x")
    _write(tmp_path / ".config/containers/auth.json", {"auths": {"host.example": _auth("login", "x")}})
    assert find_credentials("host.example", "a", inline) == Credentials("login", "x")
    _write(tmp_path / "config.json", {})
    assert find_credentials("host.example", "a", inline | {"REGISTRY_AUTH_FILE": str(tmp_path / "config.json")}) is None


@pytest.mark.parametrize("text", ["secret", '{"auths": "secret"}', '{"auths": {"host.example": {"auth": "secret"}}}'])
def test_a_variable_that_is_not_understood_is_named_and_not_shown(home, text):
    with pytest.raises(UsageError, match="the variable DOCKER_AUTH_CONFIG") as refused:
        find_credentials("host.example", "a", home | {"DOCKER_AUTH_CONFIG": text})
    assert "secret" not in f"{refused.value} {refused.value.hint}"


def test_the_old_docker_file_is_read_last(tmp_path, home):
    _write(tmp_path / ".dockercfg", {"https://host.example/v1/": _auth("old", "secret")})

    assert find_credentials("host.example", "a", home) == Credentials("old", "secret")


def test_the_longest_path_wins():
    auths = {
        "host.example": {"auth": "host"},
        "host.example/a": {"auth": "a"},
        "host.example/a/b": {"auth": "a/b"},
        "other.example/a/b/c": {"auth": "other"},
    }

    assert find_entry(auths, "host.example", "a/b/c") == {"auth": "a/b"}
    assert find_entry(auths, "host.example", "a/bb") == {"auth": "a"}
    assert find_entry(auths, "host.example", "x") == {"auth": "host"}
    assert find_entry(auths, "host.example:5000", "a") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_goes_by_all_its_names(tmp_path, home, key):
    _write(tmp_path / ".docker/config.json", {"auths": {key: _auth("hub", "secret")}})

    assert find_credentials("docker.io", "library/debian", home) == Credentials("hub", "secret")


def test_passwords_may_hold_colons_and_identity_tokens_are_kept_apart(tmp_path, home):
    entry = _auth("user", "a:b:c") | {"identitytoken": "refresh"}
    _write(tmp_path / ".docker/config.json", {"auths": {"host.example": entry}})

    found = find_credentials("host.example", "a", home)

    assert found == Credentials("user", "a:b:c", "refresh")
    assert "a:b" not in repr(found)
    assert "refresh" not in repr(found)


def test_a_helper_for_the_host_is_run_with_the_host_on_its_input(tmp_path, home):
    _helper(
        home,
        "test",
        'test "$1" = get && server=$(cat) && echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"',
    )
    _write(tmp_path / ".docker/config.json", {"credHelpers": {"host.example": "test"}, "auths": {"host.example": {}}})

    assert find_credentials("host.example", "a/b", home) == Credentials("host.example", "s")


def test_a_helper_may_give_an_identity_token(tmp_path, home):
    _helper(home, "test", 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    _write(tmp_path / ".docker/config.json", {"credsStore": "test", "auths": {"host.example": {}}})

    assert find_credentials("host.example", "a", home) == Credentials("", identity_token="refresh")


def test_a_helper_that_knows_nothing_leaves_the_entry_to_count(tmp_path, home):
    _helper(home, "test", "echo credentials not found in native keychain; exit 1")
    _write(
        tmp_path / ".docker/config.json",
        {"credHelpers": {"host.example": "test"}, "auths": {"host.example": _auth("u", "p")}},
    )

    assert find_credentials("host.example", "a", home) == Credentials("u", "p")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo secret-value; exit 3", "exit code 3"),
        ("echo secret-value", "gave an invalid answer for host.example"),
        ("echo '[]'", "gave an invalid answer"),
    ],
)
def test_a_broken_helper_is_named_and_never_quoted(tmp_path, home, script, says):
    _helper(home, "test", script)
    _write(tmp_path / ".docker/config.json", {"credHelpers": {"host.example": "test"}})

    with pytest.raises(ToolError, match=says) as caught:
        find_credentials("host.example", "a", home)
    assert "secret-value" not in str(caught.value)


def test_a_missing_store_for_all_hosts_does_not_stand_in_the_way_of_public_content(tmp_path, home):
    _write(tmp_path / ".docker/config.json", {"credsStore": "desktop-of-another-machine"})
    notes: list[str] = []

    assert find_credentials("host.example", "a", home, note=notes.append) is None
    assert "docker-credential-desktop-of-another-machine" in notes[0]


def test_helpers_of_registries_conf_are_asked_in_order(tmp_path, home):
    _helper(home, "first", "echo credentials not found; exit 1")
    _helper(home, "second", 'echo \'{"Username":"u","Secret":"p"}\'')

    found = find_credentials("host.example", "a", home, more_helpers=("first", "containers-auth.json", "second"))

    assert found == Credentials("u", "p")


@pytest.mark.parametrize("name", ["../evil", "a/b", ""])
def test_a_helper_is_a_name_not_a_path(home, name):
    with pytest.raises(ToolError, match="not the name of a credential helper"):
        find_credentials("host.example", "a", home, more_helpers=(name,))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": []}',
        '{"credHelpers": {"a": 1}}',
        '{"credsStore": 1}',
        '{"auths": {"host.example": {"auth": "%%%"}}}',
        '{"auths": {"host.example": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"host.example": {"auth": 5}}}',
        "[" * 100_000,
    ],
)
def test_a_malformed_file_gives_one_line_that_names_it(tmp_path, home, text):
    _write(tmp_path / ".docker/config.json", text)

    with pytest.raises(UsageError, match=r"config\.json") as caught:
        find_credentials("host.example", "a", home)
    assert "\n" not in str(caught.value)


def test_an_empty_file_holds_nothing(tmp_path, home):
    _write(tmp_path / ".docker/config.json", "")

    assert find_credentials("host.example", "a", home) is None


def test_logout_forgets_everywhere_and_keeps_the_rest(tmp_path, home):
    for place in ("run/containers/auth.json", ".docker/config.json"):
        _write(tmp_path / place, {"auths": {"host.example": _auth("u", "p"), "b.example": _auth("b", "p")}, "other": 1})

    assert logout("host.example", environment=home)
    assert not logout("host.example", environment=home)
    for place in ("run/containers/auth.json", ".docker/config.json"):
        document = json.loads((tmp_path / place).read_text())
        assert document == {"auths": {"b.example": _auth("b", "p")}, "other": 1}
        assert (tmp_path / place).stat().st_mode & 0o777 == 0o600
        assert [path.name for path in (tmp_path / place).parent.iterdir()] == [(tmp_path / place).name]
