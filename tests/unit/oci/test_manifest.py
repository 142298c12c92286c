"""Manifests and indexes: the golden vector byte for byte, refusals with their place, rewriting that loses nothing."""

from __future__ import annotations

import base64
import json as stdlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulout.errors import HauloutError, InvalidManifest
from haulout.oci import (
    EMPTY,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    empty_config_manifest,
    json,
    manifest_media_type,
    mediatype,
    parse_any,
)

GOLDEN = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
    b'"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"'
    b',"size":2,"data":"e30="},"layers":[{"mediaType":"application/zstd","digest":'
    b'"sha256:bf53aea26da8c4b2e4ca2d52db138e20fc7e730e6b34b866e9e8e39bcaaa2dc5","size":1059455878,"annotations":'
    b'{"org.opencontainers.image.title":"podman-machine.x86_64.qemu.qcow2.zst"}}]}'
)
"""The manifest of quay.io/podman/machine-os:5.3, x86_64, qemu, as the registry serves it."""
HEX = "b" * 64


def test_podmans_own_manifest_is_written_byte_for_byte():
    layer = Descriptor(
        "application/zstd",
        Digest("bf53aea26da8c4b2e4ca2d52db138e20fc7e730e6b34b866e9e8e39bcaaa2dc5"),
        1059455878,
        {"org.opencontainers.image.title": "podman-machine.x86_64.qemu.qcow2.zst"},
    )
    written = empty_config_manifest((layer,)).to_bytes()
    assert written == GOLDEN
    assert len(written) == 474
    assert Digest.of(written).hex == "dfcb3b199378320640d78121909409599b58b8012ed93320dae48deacde44d45"
    assert Manifest.parse(GOLDEN, "golden").to_bytes() == GOLDEN


def test_podmans_index_entry_is_written_as_podman_writes_it():
    entry = Descriptor(mediatype.OCI_MANIFEST, Digest(HEX), 474, {"disktype": "qemu"}, Platform("x86_64", "linux"))
    assert stdlib.dumps(entry.to_json(), separators=(",", ":")) == (
        '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:' + HEX + '","size":474,'
        '"annotations":{"disktype":"qemu"},"platform":{"architecture":"x86_64","os":"linux"}}'
    )


def manifest_with(**changes):
    document = stdlib.loads(GOLDEN) | changes
    return stdlib.dumps({key: value for key, value in document.items() if value != "absent"}).encode()


def index_with(entry=None, **changes):
    full = {"mediaType": mediatype.OCI_MANIFEST, "digest": f"sha256:{HEX}", "size": 1} | (entry or {})
    entry = {key: value for key, value in full.items() if value != "absent"}
    document = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [entry]} | changes
    return stdlib.dumps({key: value for key, value in document.items() if value != "absent"}).encode()


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (manifest_with(schemaVersion=1), "schema 1"),
        (manifest_with(schemaVersion="2"), "schemaVersion must be 2"),
        (manifest_with(schemaVersion=True), "schemaVersion"),
        (manifest_with(manifests=[]), "at once"),
        (manifest_with(fsLayers=[]), "at once"),
        (manifest_with(config="absent"), "config"),
        (manifest_with(layers="absent"), "layers"),
        (manifest_with(layers={}), "layers"),
        (manifest_with(layers=[1]), r"layers\[0\]"),
        (manifest_with(layers=[{}] * 5000), "5000 entries"),
        (manifest_with(annotations={"a": 1}), "annotations"),
        (manifest_with(annotations=[]), "annotations"),
        (manifest_with(artifactType=3), "artifactType"),
        (manifest_with(mediaType=7), "mediaType"),
        (manifest_with(mediaType="text/html"), "text/html"),
        (manifest_with(subject="x"), "subject"),
        (manifest_with(config=stdlib.loads(GOLDEN)["config"] | {"data": "e3w="}), r"config\.data"),
        (manifest_with(config=stdlib.loads(GOLDEN)["config"] | {"data": "%%"}), r"config\.data"),
        (manifest_with(config=stdlib.loads(GOLDEN)["config"] | {"data": "é"}), r"config\.data"),
        (manifest_with(config=stdlib.loads(GOLDEN)["config"] | {"data": 5}), r"config\.data"),
        (index_with(layers=[]), "at once"),
        (index_with(config={}), "at once"),
        (index_with(manifests={}), "manifests"),
        (index_with({"digest": "sha256:../../x"}), r"manifests\[0\]\.digest"),
        (index_with({"digest": None}), "digest"),
        (index_with({"size": -1}), "size"),
        (index_with({"size": True}), "size"),
        (index_with({"size": "1"}), "size"),
        (index_with({"size": 2**70}), "size"),
        (index_with({"size": "absent"}), "size"),
        (index_with({"mediaType": ""}), "mediaType"),
        (index_with({"platform": "linux"}), "platform"),
        (index_with({"artifactType": 1}), "artifactType"),
        (index_with({"annotations": {"a": None}}), "annotations"),
    ],
)
def test_refuses_with_the_place(data, place):
    with pytest.raises(InvalidManifest, match=place) as caught:
        parse_any(data, "the thing")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the thing is not a valid manifest")


@pytest.mark.parametrize(
    ("data", "announced"),
    [
        (GOLDEN, mediatype.OCI_INDEX),
        (GOLDEN, mediatype.DOCKER_MANIFEST),
        (GOLDEN, mediatype.DOCKER_INDEX),
        (index_with(), mediatype.OCI_MANIFEST),
        (index_with(), mediatype.DOCKER_INDEX),
    ],
)
def test_a_body_of_another_type_than_announced_is_refused(data, announced):
    with pytest.raises(InvalidManifest):
        parse_any(data, "x", announced)


@pytest.mark.parametrize("announced", [None, "application/json", "application/octet-stream"])
def test_without_a_useful_announcement_the_document_says_what_it_is(announced):
    assert isinstance(parse_any(GOLDEN, "x", announced), Manifest)
    assert isinstance(parse_any(index_with(mediaType="absent"), "x", announced), Index)
    assert manifest_media_type(GOLDEN, "x", announced) == mediatype.OCI_MANIFEST


def test_an_announcement_of_something_else_is_believed_unless_the_body_knows_better():
    assert isinstance(parse_any(GOLDEN, "x", "text/plain"), Manifest)
    with pytest.raises(InvalidManifest, match="text/plain"):
        parse_any(manifest_with(mediaType="absent"), "x", "text/plain")


def test_an_empty_index_as_go_writes_it_is_empty():
    assert Index.parse(index_with(manifests=None), "x").manifests == ()


def test_effective_artifact_type_falls_back_to_the_config():
    assert Manifest.parse(GOLDEN, "x").effective_artifact_type == mediatype.OCI_EMPTY
    assert empty_config_manifest((), artifact_type="a/b").effective_artifact_type == "a/b"
    assert empty_config_manifest(()).layers == (EMPTY,)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_FOREIGN = st.dictionaries(
    _TEXT.map("x-".__add__), st.none() | st.integers(0, 9) | _TEXT | st.lists(_TEXT, max_size=2), max_size=3
)
_ANNOTATIONS = st.dictionaries(_TEXT, _TEXT, min_size=1, max_size=3)


@st.composite
def _entry(draw):
    data = draw(st.binary(max_size=12))
    entry = {"mediaType": draw(st.sampled_from([mediatype.OCI_MANIFEST, "x/y"])), "digest": str(Digest.of(data))}
    entry |= {"size": len(data)} | draw(_FOREIGN)
    if draw(st.booleans()):
        entry["data"] = base64.b64encode(data).decode()
    if draw(st.booleans()):
        entry["annotations"] = draw(_ANNOTATIONS)
    if draw(st.booleans()):
        entry["platform"] = {"architecture": draw(_TEXT), "os": draw(_TEXT)} | draw(_FOREIGN)
    if draw(st.booleans()):
        entry |= {"artifactType": "a/b", "urls": ["https://elsewhere.test/"]}
    return entry


@given(st.lists(_entry(), max_size=4), _FOREIGN, st.booleans(), st.none() | _ANNOTATIONS)
def test_rewriting_an_index_loses_nothing(entries, foreign, typed, annotations):
    document = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries} | foreign
    if typed:
        document |= {"artifactType": "a/c", "subject": {"mediaType": "m/n", "digest": f"sha256:{HEX}", "size": 3}}
    if annotations:
        document["annotations"] = annotations
    written = Index.parse(stdlib.dumps(document).encode(), "x").to_bytes()
    assert document == stdlib.loads(written)
    assert written == Index.parse(written, "x").to_bytes()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=6)
        | st.just(f"sha256:{HEX}")
        | st.just(mediatype.OCI_INDEX),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["mediaType", "digest", "size", "config", "layers", "manifests", "subject", "annotations", "data"]
                ),
                inner,
            )
        ),
        max_leaves=15,
    )
)
def test_any_document_is_a_manifest_or_one_of_our_errors(value):
    document = {"schemaVersion": 2} | (value if isinstance(value, dict) else {"layers": value, "config": value})
    try:
        parse_any(stdlib.dumps(document).encode(), "x")
    except HauloutError as exc:
        message = str(exc)
    else:
        message = "parsed"
    assert "\n" not in message


FOREIGN = {
    "mediaType": mediatype.OCI_MANIFEST,
    "digest": "sha512:" + "a" * 128,
    "size": 10,
    "platform": {"os": "linux"},
}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_entry_under_another_algorithm_is_passed_over_and_kept(place):
    ours = [Descriptor.of(mediatype.OCI_MANIFEST, data).to_json() for data in (b"1", b"2")]
    entries = ours.copy()
    entries.insert(place, FOREIGN)
    data = json.dumps({"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": entries})
    index = Index.parse(data, "it")
    assert [entry.to_json() for entry in index.manifests] == ours
    assert index.to_bytes() == data
    # What a push takes out or puts in changes nothing about it.
    fewer = replace(index, manifests=index.manifests[:1])
    assert FOREIGN in json.loads(fewer.to_bytes(), "it")["manifests"]


@pytest.mark.parametrize(
    "digest", ["sha256:" + "A" * 64, "sha256:" + "a" * 128, "sha512", "sha512:", "a b:" + "c" * 64, 5]
)
def test_what_is_no_digest_of_any_algorithm_is_refused(digest):
    data = json.dumps({"schemaVersion": 2, "manifests": [{**FOREIGN, "digest": digest}]})
    with pytest.raises(InvalidManifest):
        Index.parse(data, "it")
