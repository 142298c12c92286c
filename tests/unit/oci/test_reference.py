"""References: the grammar, the errors' positions, and that what is printed parses to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import HauloutError, InvalidReference
from haulout.oci import Digest, LayoutReference, RegistryReference, parse_reference

HEX = "a" * 64
DIGEST = Digest(HEX)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/podman/machine-os:5.3", RegistryReference("quay.io", "podman/machine-os", "5.3", None)),
        ("docker://quay.io/podman/machine-os:5.3", RegistryReference("quay.io", "podman/machine-os", "5.3", None)),
        ("localhost/x", RegistryReference("localhost", "x", "latest", None)),
        ("localhost:5000/x/y:t", RegistryReference("localhost:5000", "x/y", "t", None)),
        ("[::1]:5000/x:t", RegistryReference("[::1]:5000", "x", "t", None)),
        ("QUAY.io/x:T", RegistryReference("quay.io", "x", "T", None)),
        ("docker.io/debian:12", RegistryReference("docker.io", "library/debian", "12", None)),
        (f"h.io/x@sha256:{HEX}", RegistryReference("h.io", "x", None, DIGEST)),
        (f"h.io/x:t@sha256:{HEX}", RegistryReference("h.io", "x", "t", DIGEST)),
        ("oci:/srv/l:1.0", LayoutReference("/srv/l", "1.0", None)),
        ("oci:here", LayoutReference("here", "latest", None)),
        ("oci:/mnt/a:b/layout", LayoutReference("/mnt/a:b/layout", "latest", None)),
        ("oci:/mnt/a@b/layout:t", LayoutReference("/mnt/a@b/layout", "t", None)),
        (f"oci:l@sha256:{HEX}", LayoutReference("l", None, DIGEST)),
        ("oci:a dir/l:t", LayoutReference("a dir/l", "t", None)),
    ],
)
def test_reads(text, expected):
    assert expected == parse_reference(text)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("debian:12", 0),
        ("debian/x:12", 0),
        ("https://quay.io/x:1", 0),
        ("quay.io/x:1\n", 11),
        ("quay.io/\u202ex:1", 8),
        ("quay.io/Podman/x:1", 8),
        ("quay.io/a//b:1", 10),
        ("quay.io/a/../b:1", 10),
        ("quay.io/:1", 8),
        ("quay.io/x:", 10),
        ("quay.io/x:.1", 10),
        ("quay.io/x:a b", 11),
        ("quay.io/x:a:b", 11),
        ("quay.io/x:" + "t" * 129, 138),
        ("quay.io/" + "r" * 256 + ":1", 263),
        ("quay_.io/x:1", 4),
        ("-quay.io/x:1", 0),
        ("h.io:0/x:1", 5),
        ("h.io:70000/x:1", 5),
        ("h.io:port/x:1", 4),
        ("@@@foo/bar", 3),
        ("h.io/x@md5:abc", 7),
        (f"h.io/x@sha256:{HEX.upper()}", 7),
        (f"h.io/x@sha256:{HEX}0", 7),
        ("oci:", 4),
        ("oci::t", 4),
        ("oci:l:", 6),
        ("oci:l:b@d", 8),
    ],
)
def test_points_at_the_first_character_that_does_not_fit(text, position):
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert position == caught.value.position
    assert "\n" not in str(caught.value)


def test_an_upper_case_repository_is_answered_with_its_lower_case_name():
    with pytest.raises(InvalidReference) as caught:
        parse_reference("quay.io/Podman:1")
    assert "quay.io/podman:1" in (caught.value.hint or "")


_LABEL = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
_HOST = st.one_of(
    st.tuples(_LABEL, _LABEL).map(".".join),
    st.just("localhost"),
    st.tuples(_LABEL, st.integers(1, 65535)).map(lambda pair: f"{pair[0]}.test:{pair[1]}"),
)
_REPOSITORY = st.lists(st.from_regex(r"\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}\Z"), min_size=1, max_size=4).map(
    "/".join
)
_TAG = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = st.from_regex(r"\A[0-9a-f]{64}\Z").map(Digest)


@given(_HOST, _REPOSITORY, st.none() | _TAG, st.none() | _DIGEST, st.booleans())
def test_what_is_printed_parses_to_the_same(host, repository, tag, digest, scheme):
    reference = RegistryReference(host, repository, tag or (None if digest else "latest"), digest)
    assert reference == parse_reference(("docker://" if scheme else "") + str(reference))


@given(st.from_regex(r"\A[a-zA-Z0-9_./ -]{1,40}\Z"), st.none() | _TAG, st.none() | _DIGEST)
def test_layouts_that_are_printed_parse_to_the_same(directory, tag, digest):
    reference = LayoutReference(directory, tag or (None if digest else "latest"), digest)
    assert reference == parse_reference(str(reference))


@given(st.text(max_size=80) | st.text("abz/:@.-_[]0é\n %", max_size=40).map("h.io/".__add__))
def test_any_text_parses_or_is_refused_at_a_place_inside_it(text):
    try:
        reference = parse_reference(text)
    except InvalidReference as exc:
        position = exc.position
    else:
        assert reference == parse_reference(str(reference))
        position = 0
    assert 0 <= position <= len(text)


def test_pinning_drops_the_tag():
    reference = parse_reference("h.io/x:t")
    assert str(reference.at(DIGEST)) == f"h.io/x@{DIGEST}"
    assert str(reference.at(DIGEST).with_tag("u")) == "h.io/x:u"
    assert str(parse_reference("oci:d:t").at(DIGEST)) == f"oci:d@{DIGEST}"


def test_the_error_is_one_of_ours():
    assert issubclass(InvalidReference, HauloutError)


def test_oci_with_slashes_is_a_registry_as_helm_and_ironic_write_it():
    assert parse_reference("oci://quay.io/podman/machine-os:5.3") == parse_reference("quay.io/podman/machine-os:5.3")
    digest = "sha256:" + "0" * 64
    assert str(parse_reference(f"oci://quay.io/a@{digest}")) == f"quay.io/a@{digest}"
    assert isinstance(parse_reference("oci:/quay.io/a:1"), LayoutReference)
    with pytest.raises(InvalidReference) as error:
        parse_reference("oci:///srv/machines:5.0")
    assert error.value.hint == "for an image layout write oci:/srv/machines:5.0"


@pytest.mark.parametrize("text", ["{}", "r.test/{}:1", "r.test/a:{}", "{}/a:1", "R.test/{}Z:1", "r.test/a@sha256:{}"])
def test_an_error_shows_the_place_and_not_thousands_of_characters(text):
    with pytest.raises(InvalidReference) as error:
        parse_reference(text.format("x" * 6000))
    assert len(str(error.value)) < 500
