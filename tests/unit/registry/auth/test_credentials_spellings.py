"""Credentials as podman, docker and people's editors write them: each spelling is read as those tools read it."""

from __future__ import annotations

import base64
import json
import os

import pytest
from tests.support.simulators.registry import Basic, Response, ScriptedServer, SimulatedRegistry

from haulout.cli.main import main
from haulout.errors import RegistryError, UsageError
from haulout.registry import Credentials, login, logout, registry_host
from haulout.registry.auth.basic import basic
from haulout.registry.auth.credentials import find_credentials

AUTH = base64.b64encode(b"user:pass").decode()
FOUND = Credentials("user", "pass")


def read(tmp_path, document, host="r.test:5000", repository="a/b"):
    path = tmp_path / "auth.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return find_credentials(host, repository, {"REGISTRY_AUTH_FILE": os.fspath(path), "HOME": "/nonexistent"})


@pytest.mark.parametrize(
    "key",
    [
        "r.test:5000",
        "r.test:5000/a",
        "r.test:5000/a/b",
        "r.test:5000/a/",
        "r.test:5000/a/b/",
        "r.test:5000/",
        "r.test:5000/v1/",
        "r.test:5000/v2",
        "https://r.test:5000",
        "https://r.test:5000/",
        "https://r.test:5000/v1/",
        "http://r.test:5000/v2/",
        "https://r.test:5000/anything",
        "https://R.test:5000",
    ],
)
def test_a_key_may_be_written_in_many_ways(tmp_path, key):
    assert read(tmp_path, {"auths": {key: {"auth": AUTH}}}) == FOUND


@pytest.mark.parametrize(
    "key", ["r.test", "r.test:5001", "r.test:5000/c", "r.test:5000/a/b/c", "https://r.test/v1/", ""]
)
def test_a_key_of_another_place_is_passed_over(tmp_path, key):
    assert read(tmp_path, {"auths": {key: {"auth": AUTH}}}) is None


def test_the_longest_path_counts_however_the_host_is_written(tmp_path):
    other = base64.b64encode(b"other:pass").decode()
    auths = {"https://r.test:5000/v1/": {"auth": other}, "r.test:5000/a": {"auth": AUTH}}
    assert read(tmp_path, {"auths": auths}) == FOUND


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"username": "user", "password": "pass"}, FOUND),
        ({"username": "user", "password": "pass", "auth": ""}, FOUND),
        ({"username": "other", "password": "other", "auth": AUTH}, FOUND),
        ({"auth": base64.b64encode(b"user:pass\0\0").decode()}, FOUND),
        ({"auth": base64.b64encode(b"user:").decode()}, Credentials("user", "")),
        ({"username": "user", "password": ""}, Credentials("user", "")),
        ({"identitytoken": "t"}, Credentials("", identity_token="t")),
        ({"auth": base64.b64encode(b"user:").decode(), "identitytoken": "t"}, Credentials("user", "", "t")),
        ({"auth": AUTH, "email": "a@b.test", "serveraddress": "r.test:5000"}, FOUND),
    ],
)
def test_an_entry_may_be_written_in_many_ways(tmp_path, entry, found):
    assert read(tmp_path, {"auths": {"r.test:5000": entry}}) == found


def test_an_empty_password_is_sent():
    assert basic(Credentials("user", "")) == "Basic " + base64.b64encode(b"user:").decode()


HUB = ["docker.io", "index.docker.io", "https://index.docker.io/v1/"]


@pytest.mark.parametrize("key", [*HUB, "registry-1.docker.io", "docker.io/library", "index.docker.io/library/debian"])
@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_is_found_by_each_of_its_names_under_each(tmp_path, key, host):
    assert read(tmp_path, {"auths": {key: {"auth": AUTH}}}, host, "library/debian") == FOUND


@pytest.mark.parametrize(
    ("key", "host", "server"),
    [(key, "docker.io", HUB[-1]) for key in HUB]
    + [(key, "r.test:5000", "r.test:5000") for key in ("r.test:5000", "https://r.test:5000", "r.test:5000/")],
)
def test_a_helper_is_found_under_each_name_of_its_host(tmp_path, monkeypatch, key, host, server):
    asked = []

    def get(name, server, _):
        asked.append((name, server))
        return FOUND

    monkeypatch.setattr("haulout.registry.auth.helpers.get", get)
    assert read(tmp_path, {"credHelpers": {"r.test": "other", key: "mine"}}, host, "library/debian") == FOUND
    assert asked == [("mine", server)]


@pytest.mark.parametrize(
    ("variable", "place"),
    [("DOCKER_CONFIG", "config.json"), ("XDG_CONFIG_HOME", "containers/auth.json")],
)
def test_a_variable_says_where_a_file_is(tmp_path, variable, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"auths": {"r.test:5000": {"auth": AUTH}}}))
    for more in ({}, {"REGISTRY_AUTH_FILE": ""}):
        found = find_credentials("r.test:5000", "a", {variable: os.fspath(tmp_path), "HOME": "/nonexistent"} | more)
        assert found == FOUND


@pytest.mark.parametrize("text", ["dXNl\ncjpwYXNz", "dXNlcjpwYXNz\n", "dXNl\r\ncjpw\r\nYXNz\r\n"])
def test_base64_may_have_line_breaks(tmp_path, text):
    assert read(tmp_path, {"auths": {"r.test:5000": {"auth": text}}}) == FOUND


@pytest.mark.parametrize("text", ["dXNl cjpwYXNz", "dXNlcjpwYXNz!", "dXNlcg==", "%", "\u00e9"])
def test_what_is_not_base64_of_user_and_password_is_refused(tmp_path, text):
    with pytest.raises(UsageError):
        read(tmp_path, {"auths": {"r.test:5000": {"auth": text}}})


@pytest.mark.parametrize("member", ["credsStore", "credHelpers", "HttpHeaders", "detachKeys"])
def test_a_member_that_is_null_is_not_there(tmp_path, member):
    assert read(tmp_path, {"auths": {"r.test:5000": {"auth": AUTH}}, member: None}) == FOUND


@pytest.mark.parametrize(
    "document",
    [
        {"auths": None},
        {"auths": {"r.test:5000": None}},
        {"auths": {"r.test:5000": {}}},
        {"auths": {"r.test:5000": {"auth": None}}},
        {"auths": {"r.test:5000": {"auth": "", "identitytoken": None}}},
        {"credHelpers": {"r.test:5000": None}},
        {},
    ],
)
def test_nothing_in_many_spellings(tmp_path, document):
    assert read(tmp_path, document) is None


def test_a_null_entry_does_not_hide_another_spelling(tmp_path):
    auths = {"r.test:5000": None, "https://r.test:5000": {"auth": AUTH}}
    assert read(tmp_path, {"auths": auths}) == FOUND


def test_a_password_in_another_encoding_is_sent_as_it_is(tmp_path):
    text = base64.b64encode(b"user:p\xe9ss").decode()
    found = read(tmp_path, {"auths": {"r.test:5000": {"auth": text}}})
    assert found is not None
    assert basic(found) == f"Basic {text}"


@pytest.mark.parametrize(
    "user",
    ["a:b", "a\r\nX: y", "a\nb", "a\x00b", "a\x7f", "caf\udce9", ""],
    ids=ascii,
)
def test_a_user_name_that_cannot_be_sent_is_refused_in_one_line(capsys, user):
    assert main(["login", "r.test", "-u", user, "--password-stdin"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("haulout: the user name ")
    assert told.count("\n") <= 2


def test_a_password_that_is_not_text_is_refused():
    with pytest.raises(UsageError, match="UTF-8"):
        login("r.test", "user", "caf\udce9")


def test_a_password_may_have_several_lines(tmp_path):
    # The key of a Google service account is a JSON document.
    secret = '{\n  "type": "service_account"\n}'
    environment = {"REGISTRY_AUTH_FILE": os.fspath(tmp_path / "auth.json"), "HOME": "/nonexistent"}
    with SimulatedRegistry(auth=Basic("_json_key", secret)) as server:
        login(server.host, "_json_key", secret, environment=environment)
        assert find_credentials(server.host, "a", environment) == Credentials("_json_key", secret)


def test_a_limit_of_rate_is_not_called_a_wrong_password(tmp_path):
    environment = {"REGISTRY_AUTH_FILE": os.fspath(tmp_path / "auth.json"), "HOME": "/nonexistent"}
    with (
        ScriptedServer(lambda _: Response(403, {"Retry-After": "0"}, b"rate limit")) as server,
        pytest.raises(RegistryError, match="403"),
    ):
        login(server.host, "user", "pass", environment=environment)
    assert not (tmp_path / "auth.json").exists()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("R.test:5000", "r.test:5000"),
        ("https://r.test", "r.test"),
        ("https://r.test/v2/", "r.test"),
        ("oci://r.test/", "r.test"),
        ("localhost", "localhost"),
        ("docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_host_is_taken_as_other_tools_write_it(text, host):
    assert registry_host(text) == host


@pytest.mark.parametrize(
    "text", ["", "a b", "r.test/a", "https://", "r.test:port", "myregistry", "oci:dir", "me@r.test", "-"]
)
def test_what_is_no_host_is_refused_before_anything_is_sent(text, capsys):
    with pytest.raises(UsageError, match="not a registry host"):
        registry_host(text)
    assert main(["login", "-u", "me", "--password-stdin", "--", text]) == 2
    assert capsys.readouterr().err.startswith("haulout: not a registry host: ")


def test_logout_finds_what_login_wrote_however_the_host_is_spelled(tmp_path):
    environment = {"REGISTRY_AUTH_FILE": os.fspath(tmp_path / "auth.json"), "HOME": "/nonexistent"}
    with SimulatedRegistry(auth=Basic("me", "pw")) as server:
        login(f"http://{server.host}/", "me", "pw", environment=environment)
        assert find_credentials(server.host, "a", environment) == Credentials("me", "pw")
        assert logout(f"https://{server.host}/v2/", environment=environment)
        assert find_credentials(server.host, "a", environment) is None
