"""registries.conf: which places are asked for a repository, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import DeniedError, UsageError
from haulout.http.tls import profile_for
from haulout.oci import RegistryReference, parse_reference
from haulout.registry.config import Endpoint, RegistriesConfig, Rule, load_config, match_prefix

_LABEL = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
_NAME = st.tuples(st.lists(_LABEL, min_size=2, max_size=4), st.lists(_LABEL, min_size=1, max_size=4)).map(
    lambda parts: f"{'.'.join(parts[0])}/{'/'.join(parts[1])}"
)


def _reference(text: str) -> RegistryReference:
    found = parse_reference(text)
    assert isinstance(found, RegistryReference)
    return found


def _load(tmp_path, text: str, **more: str) -> RegistriesConfig:
    file = tmp_path / "registries.conf"
    file.write_text(text)
    environment = {"HOME": str(tmp_path / "home"), "CONTAINERS_REGISTRIES_CONF": str(file)}
    return load_config(environment | more, system=tmp_path / "etc")


@given(_NAME, st.data())
def test_the_longest_prefix_wins(name, data):
    cuts = [index for index, character in enumerate(name) if character == "/"] + [len(name)]
    chosen = data.draw(st.lists(st.sampled_from(cuts), min_size=1, unique=True))
    rules = tuple(Rule(name[:cut], f"place{cut}.example") for cut in data.draw(st.permutations(chosen)))

    found = RegistriesConfig(rules).rule_for(name)

    assert found == (Rule(name[: max(chosen)], f"place{max(chosen)}.example"), max(chosen))


@given(_NAME, st.text("abc./:-", max_size=8))
def test_a_prefix_ends_where_a_component_ends(name, more):
    assert match_prefix(name + more, name) in {0, len(name)}
    assert bool(match_prefix(name + more, name)) == (not more or more[0] in "/:")


@pytest.mark.parametrize(
    ("prefix", "name", "covers"),
    [
        ("*.example.com", "a.example.com/x", len("a.example.com")),
        ("*.example.com", "a.b.example.com/x", len("a.b.example.com")),
        ("*.example.com", "example.com/x", 0),
        ("*.example.com", "a.example.community/x", 0),
        ("*.example.com", "evil.org/a.example.com/x", 0),
        ("*.example.com/x", "a.example.com/x/y", len("a.example.com/x")),
        ("example.com", "example.com:5000/x", len("example.com")),
        ("example.com/a", "example.com/ab", 0),
    ],
)
def test_prefixes_match_as_containers_image_does(prefix, name, covers):
    assert match_prefix(name, prefix) == covers


def test_without_files_the_reference_is_asked(tmp_path):
    config = load_config({"HOME": str(tmp_path)}, system=tmp_path / "none")

    assert config.endpoints(_reference("quay.io/a/b:1"), "pull") == (Endpoint("quay.io", "a/b"),)


_MIRRORS = """
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "quay.io/podman"
location = "inner.example/quay/podman"
insecure = true
[[registry.mirror]]
location = "tags.example:5000/p"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "digests.example/p"
pull-from-mirror = "digest-only"
insecure = true
"""


def test_mirrors_come_first_and_locations_are_rewritten(tmp_path):
    config = _load(tmp_path, _MIRRORS)

    tags, digests, home = config.endpoints(_reference("quay.io/podman/machine-os:5.3"), "pull")

    assert (tags.host, tags.repository) == ("tags.example:5000", "p/machine-os")
    assert (tags.serves(digest=False), tags.serves(digest=True)) == (True, False)
    assert (digests.serves(digest=False), digests.serves(digest=True)) == (False, True)
    assert digests.insecure
    assert not tags.insecure
    assert home == Endpoint("inner.example", "quay/podman/machine-os", insecure=True)


def test_what_is_pushed_goes_where_the_reference_says(tmp_path):
    endpoints = _load(tmp_path, _MIRRORS).endpoints(_reference("quay.io/podman/machine-os:5.3"), "push")

    assert endpoints == (Endpoint("quay.io", "podman/machine-os", insecure=True),)


def test_mirror_by_digest_only(tmp_path):
    config = _load(
        tmp_path,
        '[[registry]]\nlocation = "a.example"\nmirror-by-digest-only = true\n'
        '[[registry.mirror]]\nlocation = "m.example"\n',
    )

    mirror, home = config.endpoints(_reference("a.example/x:1"), "pull")

    assert not mirror.serves(digest=False)
    assert mirror.is_mirror
    assert home == Endpoint("a.example", "x")


def test_a_wildcard_without_location_rewrites_nothing(tmp_path):
    config = _load(tmp_path, '[[registry]]\nprefix = "*.example.com"\ninsecure = true\n')

    assert config.endpoints(_reference("a.example.com/x:1"), "pull") == (Endpoint("a.example.com", "x", insecure=True),)


def test_blocked_is_blocked_for_both_ways(tmp_path):
    config = _load(tmp_path, '[[registry]]\nlocation = "evil.example"\nblocked = true\n')

    for action in ("pull", "push"):
        with pytest.raises(DeniedError, match=r"blocked by registries\.conf"):
            config.endpoints(_reference("evil.example/x:1"), action)


def test_drop_ins_replace_rules_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "etc/registries.conf.d"
    folder.mkdir(parents=True)
    (folder / "20.conf").write_text('[[registry]]\nlocation = "a.example"\ninsecure = true\n')
    (folder / "10.conf").write_text('[[registry]]\nlocation = "a.example"\nblocked = true\n')
    (folder / "30.other").write_text("not toml")
    config = _load(tmp_path, '[[registry]]\nlocation = "b.example"\n')

    assert {rule.prefix: (rule.insecure, rule.blocked) for rule in config.rules} == {
        "a.example": (True, False),
        "b.example": (False, False),
    }


def test_the_users_file_replaces_the_systems(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/registries.conf").write_text('[[registry]]\nlocation = "a.example"\nblocked = true\n')
    user = tmp_path / "home/.config/containers"
    user.mkdir(parents=True)
    (user / "registries.conf").write_text('credential-helpers = ["pass"]\n')

    config = load_config({"HOME": str(tmp_path / "home")}, system=tmp_path / "etc")

    assert config == RegistriesConfig((), ("pass",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[registry", "is not TOML"),
        ("registry = 3", r"\[\[registry\]\]"),
        ("[[registry]]\nblocked = true", "neither prefix nor location"),
        ('[[registry]]\nlocation = "a"\nblocked = "yes"', r"registry\[0\]\.blocked: expected true or false"),
        ("[[registry]]\nlocation = 3", r"registry\[0\]\.location: expected one line"),
        (
            '[[registry]]\nlocation = "a"\n[[registry.mirror]]\npull-from-mirror = "no"',
            r"registry\[0\]\.mirror\[0\]\.location: is missing",
        ),
        ('[registries.search]\nregistries = ["docker.io"]', "old format"),
        ("credential-helpers = 1", "credential-helpers"),
        ("\x00", "is not TOML"),
    ],
)
def test_a_broken_file_gives_one_line_that_names_it(tmp_path, text, says):
    with pytest.raises(UsageError, match=says) as caught:
        _load(tmp_path, text)
    assert "registries.conf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(UsageError, match="which does not exist"):
        load_config({"HOME": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "missing")})


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("config")
    try:
        _load(folder, text.encode("utf-8", "replace").decode())
    except UsageError as refused:
        found = str(refused)
        assert "registries.conf" in found


def test_certs_d_gives_authorities_and_client_pairs(tmp_path):
    folder = tmp_path / ".config/containers/certs.d/host.example:5000"
    folder.mkdir(parents=True)
    for name in ("a.crt", "b.crt", "client.cert", "client.key", "notes.txt"):
        (folder / name).touch()

    profile = profile_for("host.example:5000", {"HOME": str(tmp_path)}, ca_file=tmp_path / "extra.pem")

    assert profile.authorities == (tmp_path / "extra.pem", folder / "a.crt", folder / "b.crt")
    assert profile.client == (folder / "client.cert", folder / "client.key")
    assert profile.verify
    assert profile_for("host.example", {"HOME": str(tmp_path)}).authorities == ()


@pytest.mark.parametrize("name", ["client.cert", "client.key"])
def test_half_a_client_certificate_is_refused(tmp_path, name):
    folder = tmp_path / ".config/containers/certs.d/host.example"
    folder.mkdir(parents=True)
    (folder / name).touch()

    with pytest.raises(UsageError, match="beside it"):
        profile_for("host.example", {"HOME": str(tmp_path)})


def test_a_certificate_that_is_none_is_named(tmp_path):
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")

    with pytest.raises(UsageError, match=r"ca\.pem"):
        profile_for("host.example", {"HOME": str(tmp_path)}, ca_file=bad).context()
