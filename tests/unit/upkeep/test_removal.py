"""What goes and what stays, over generated graphs; and which versions are chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.shapes import container, disk, entry, push

from haulout.content import Graph, Node, read_graph
from haulout.content.memory import MemoryStore
from haulout.content.ports import StoredManifest
from haulout.content.subjects import node_of
from haulout.errors import ContentError
from haulout.oci import Descriptor, Index, Manifest, empty_config_manifest, fallback_tag, json, mediatype
from haulout.oci import annotations as keys
from haulout.upkeep import choose_versions, plan_removal

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def node(document: Manifest | Index) -> Node:
    data = document.to_bytes()
    return node_of(StoredManifest(Descriptor.of(document.media_type, data), data))


def layer(number: int) -> Descriptor:
    return Descriptor.of("application/zstd", b"%d" % number * (number + 1))


@st.composite
def graphs(draw):
    """Draw manifests, indexes of earlier ones, what is attached to earlier ones, and tags on some of all."""
    graph = Graph()
    made: list[Node] = []
    for number in range(draw(st.integers(1, 14))):
        earlier = draw(st.lists(st.sampled_from(made), max_size=3, unique=True)) if made else []
        subject = draw(st.sampled_from(made)).descriptor.bare() if made and draw(st.booleans()) else None
        if earlier and draw(st.booleans()):
            document: Manifest | Index = Index(tuple(each.descriptor.bare() for each in earlier), subject=subject)
        else:
            layers = tuple(layer(draw(st.integers(0, 5))) for _ in range(draw(st.integers(0, 2))))
            document = empty_config_manifest(
                layers, artifact_type="x/y", subject=subject, annotations={"number": str(number)}
            )
        made.append(node(document))
    graph.nodes = {each.descriptor.digest: each for each in made}
    graph.link_subjects()
    tagged = draw(st.lists(st.sampled_from(made), min_size=1, max_size=6))
    graph.tags = {f"1.{number}": each.descriptor.digest for number, each in enumerate(tagged)}
    for each in draw(st.lists(st.sampled_from(made), max_size=3, unique=True)):
        listed = Index(tuple(graph.nodes[r].descriptor for r in graph.referrers.get(each.descriptor.digest, ())))
        fallback = node(Index(listed.manifests, annotations={"of": str(each.descriptor.digest)}))
        graph.nodes[fallback.descriptor.digest] = fallback
        graph.tags[fallback_tag(each.descriptor.digest)] = fallback.descriptor.digest
    return graph


@settings(max_examples=300, deadline=None)
@given(graph=graphs(), data=st.data())
def test_what_stays_is_whole_and_what_goes_is_all_the_rest(graph, data):
    versions = [tag for tag in graph.tags if tag.startswith("1.")]
    doomed = data.draw(st.lists(st.sampled_from(versions), unique=True))
    untagged = data.draw(st.booleans())
    planned = plan_removal(graph, doomed, untagged=untagged, now=NOW)
    stay = [graph.tags[tag] for tag in versions if tag not in doomed]
    keep = graph.reach(stay)
    gone = set(planned.manifests)
    assert not planned.going & keep.keys()
    assert gone == planned.going & graph.nodes.keys()
    assert set(planned.kept) == set(versions) - set(doomed)
    # All of the doomed versions goes, but for what stays with others or is attached to what no version reaches.
    detached = graph.reach(
        digest
        for tag, digest in graph.tags.items()
        if not tag.startswith("1.") and not untagged
        for digest in (digest, *(n for n in graph.nodes if fallback_tag(n) == tag))
        if not any(fallback_tag(n) == tag for n in graph.reach(graph.tags[v] for v in versions))
    )
    everything = graph.reach(graph.tags[tag] for tag in doomed)
    assert everything.keys() - keep.keys() - detached.keys() <= planned.going
    # Tags go exactly with their manifests, or alone.
    for tag, digest in graph.tags.items():
        leaves = tag in doomed or tag in planned.helper_tags
        assert leaves or digest not in gone
        if leaves:
            assert (tag in planned.untag) == (digest not in gone)
    assert planned.before - planned.after == planned.frees >= 0
    assert sum(each.frees for each in planned.versions) <= planned.frees
    assert planned.manifests == tuple(dict.fromkeys(planned.manifests))


@settings(max_examples=100, deadline=None)
@given(graph=graphs())
def test_an_index_by_digest_goes_with_its_tags_and_what_it_lists_for_others_stays(graph):
    versions = [tag for tag in graph.tags if tag.startswith("1.")]
    target = graph.tags[versions[0]]
    planned = plan_removal(graph, [], digests=[target], now=NOW)
    assert target in planned.manifests
    assert {tag for tag in versions if graph.tags[tag] == target} <= {each.name for each in planned.versions}
    stay = [graph.tags[tag] for tag in versions if graph.tags[tag] != target]
    assert not planned.going & graph.reach(stay, without=frozenset({target})).keys()


def tagged(*versions, created=None):
    store = MemoryStore()
    for number, tags in enumerate(versions):
        when = None if created is None else created[number]
        notes = {"number": str(number)} | ({keys.CREATED: when} if when else {})
        manifest = empty_config_manifest((), artifact_type="x/y", annotations=notes)
        for tag in tags.split():
            store.push_manifest(manifest.to_bytes(), manifest.media_type, tag)
    return read_graph(store, store.tags())


@pytest.mark.parametrize(
    ("versions", "keep", "gone"),
    [
        (["1.9", "1.10", "1.11"], 1, ["1.9", "1.10"]),
        (["1.9", "1.10", "1.11"], 5, []),
        # Names of one manifest are one version.
        (["1.9", "1.10", "1.11 1 latest"], 2, ["1.9"]),
        (["1.9 1.8", "1.10", "1.11"], 2, ["1.8", "1.9"]),
        # Tags without a number stay, and each series counts for itself.
        (["next", "1.1", "1.2", "next-1.1", "next-1.2"], 1, ["next-1.1", "1.1"]),
        (["1.2-rc1", "1.2", "v1.1"], 1, ["v1.1", "1.2-rc1"]),
    ],
)
def test_the_newest_of_each_series_stay(versions, keep, gone):
    assert choose_versions(tagged(*versions), keep=keep, older_than=None, now=NOW) == (gone, [])


def test_what_holds_no_disk_is_counted_apart():
    """A container image with a greater number must not make the disks old, nor the other way round."""
    store = MemoryStore()
    for number in (1, 2):
        title = f"m.x86_64.qemu.qcow2.{number}"
        push(store, Index((entry(disk(store, title), "x86_64", "qemu"),)), f"1.{number}")
        container(store, layers=number, tag=f"{number}.0-app")
    container(store, layers=3, tag="0.5")
    bootable = container(store, layers=4, tag="1.3")
    disk(store, "other.x86_64.qemu.qcow2", subject=bootable)
    graph = read_graph(store, store.tags())
    assert choose_versions(graph, keep=1, older_than=None, now=NOW) == (["0.5", "1.0-app", "1.1", "1.2"], [])
    del graph.tags["1.3"]
    assert choose_versions(graph, keep=1, older_than=None, now=NOW) == (["0.5", "1.0-app", "1.1"], [])


def test_age_and_number_must_both_say_so():
    ages = ["2026-01-01T00:00:00Z", "2026-05-20T00:00:00+00:00", "2020-01-01", None, "nonsense", "2019-01-01T00:00:00Z"]
    graph = tagged("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", created=ages)
    month = timedelta(days=30)
    assert choose_versions(graph, keep=None, older_than=month, now=NOW) == (["1.1", "1.3"], ["1.5", "1.4"])
    assert choose_versions(graph, keep=5, older_than=month, now=NOW) == (["1.1"], [])
    assert choose_versions(graph, keep=4, older_than=timedelta(days=5000), now=NOW) == ([], [])


def announcement(tag, entry, created):
    made = Index((entry,), artifact_type=mediatype.INTENT_ARTIFACT, annotations={keys.INTENT_TAG: tag})
    return made, f"haulout.{'0' * 16}.{int(created.timestamp() * 1000):012x}.{'1' * 8}"


def announcement_before_0_3(tag, entry, created):
    notes = {
        keys.CREATED: created.isoformat(),
        keys.INTENT_TAG: tag,
        keys.INTENT_ENTRY: json.dumps(entry.to_json()).decode(),
    }
    made = empty_config_manifest((), artifact_type=mediatype.INTENT_ARTIFACT, annotations=notes)
    return made, f"haulout.{'0' * 16}.x86_64.qemu"


@pytest.mark.parametrize("form", [announcement, announcement_before_0_3])
@pytest.mark.parametrize(("minutes", "stays"), [(1, True), (60, False)])
def test_what_a_publisher_at_work_has_announced_stays(form, minutes, stays):
    store = MemoryStore()
    manifest = empty_config_manifest((layer(1),), artifact_type="x/y")
    entry = store.push_manifest(manifest.to_bytes(), manifest.media_type)
    index = Index((entry,))
    store.push_manifest(index.to_bytes(), index.media_type, "1.0")
    store.push_manifest(Index(()).to_bytes(), mediatype.OCI_INDEX, "1.1")
    made, name = form("2.0", entry, NOW - timedelta(minutes=minutes))
    store.push_manifest(made.to_bytes(), made.media_type, name)
    planned = plan_removal(read_graph(store, store.tags()), ["1.0"], now=NOW)
    assert (entry.digest not in planned.manifests) is stays
    assert (planned.helper_tags == ()) is stays


def test_where_it_cannot_be_said_what_a_tag_needs_nothing_is_planned():
    graph = tagged("1.1", "1.2")
    graph.unreadable["1.3"] = ContentError("damaged")
    with pytest.raises(ContentError, match=r"what 1\.3 needs, so nothing is deleted: damaged"):
        plan_removal(graph, ["1.1"], now=NOW)
    planned = plan_removal(graph, ["1.1", "1.3"], now=NOW)
    assert planned.untag == ("1.3",)
