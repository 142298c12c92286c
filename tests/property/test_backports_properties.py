"""Properties of the pure parts of backports, on inputs nobody thought of."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from haulout.backports.followups import Hunk, Span, track
from haulout.backports.git import encode
from haulout.backports.gomod import GoMod, Version, pseudo_version, vendored
from haulout.backports.report import html, markdown
from haulout.backports.stale_names import mentions
from haulout.backports.trailers import identifiers, reverted, sources, subject_key
from haulout.backports.trees import TREE, Entry, format_tree, parse_tree

OIDS = st.text("0123456789abcdef", min_size=40, max_size=40)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in {".", "..", ".git"}
)
ENTRIES = st.dictionaries(
    NAMES, st.builds(Entry, st.sampled_from(["100644", "100755", "120000", TREE, "160000"]), OIDS), max_size=8
)


@given(ENTRIES)
def test_trees_are_read_as_written(entries):
    assert parse_tree(format_tree(entries), 20) == entries


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        NAMES.filter(lambda name: name.lower().strip(". ") not in {"git", "git~1"} and "\\" not in name),
        st.just("100644"),
        max_size=6,
    )
)
def test_git_writes_the_same_trees(tmp_path_factory, names):
    """Against ``git mktree``, which sorts and hashes for itself."""
    import hashlib

    folder = tmp_path_factory.getbasetemp() / "mktree"
    if not folder.exists():
        subprocess.run(["git", "init", "-q", folder], check=True)
    entries = {name: Entry(mode, "a" * 40) for name, mode in names.items()}
    listing = b"".join(b"100644 blob " + b"a" * 40 + b"\t" + encode(name) + b"\0" for name in entries)
    said = subprocess.run(
        ["git", "-C", folder, "mktree", "-z", "--missing"], input=listing, capture_output=True, check=True
    )
    content = format_tree(entries)
    assert hashlib.sha1(b"tree %d\0" % len(content) + content).hexdigest() == said.stdout.decode().strip()


@given(st.text())
def test_no_text_breaks_what_reads_messages_and_files(text):
    sources(text), reverted(text), identifiers(text), subject_key(text), vendored(text)
    GoMod.parse(text)
    Version.parse(text)
    list(mentions("ci.yml", text, "crio-1.31", {"main"}))
    list(mentions("OWNERS", text, "crio-1.31", {"main"}))


@given(
    st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
    OIDS,
    st.integers(0, 4_000_000_000),
)
def test_versions_of_commits_are_read_as_written(base, oid, when):
    tag = None if base is None else "v{}.{}.{}".format(*base)
    found = Version.parse(pseudo_version(tag, oid, when))
    assert found.time is not None
    assert (found.commit, found.base, int(found.time.timestamp())) == (oid[:12], tag, when)


@given(st.text(max_size=30))
def test_a_subject_and_its_backport_have_one_key(subject):
    plain = subject_key(subject)
    assert subject_key(f"[crio-1.31] {subject}") in {plain, subject_key(f"[crio-1.31] {plain}")}


@st.composite
def changes(draw):
    """A file of distinct lines and one change of it, as hunks without context."""
    before = [f"l{number}" for number in range(draw(st.integers(1, 20)))]
    after, hunks, position, serial = [], [], 0, 0
    while position < len(before):
        if draw(st.booleans()):
            after.append(before[position])
            position += 1
            continue
        removed = draw(st.integers(0, min(3, len(before) - position)))
        added = draw(st.integers(0 if removed else 1, 3))
        # As git counts: without old lines, the place is the line before; without new ones, too.
        hunks.append(
            Hunk(position + 1 if removed else position, removed, len(after) + 1 if added else len(after), added)
        )
        after += [f"new{serial + number}" for number in range(added)]
        serial += added
        position += removed
        if position < len(before):
            # Git joins changes that touch, so there is a line between any two.
            after.append(before[position])
            position += 1
    return before, after, hunks


@given(changes(), st.data())
def test_lines_that_stay_are_followed_and_changes_are_seen(change, data):
    before, after, hunks = change
    first = data.draw(st.integers(1, len(before)))
    last = data.draw(st.integers(first, len(before)))
    found, touched = track([Span(first, last)], hunks)
    mine = before[first - 1 : last]
    if touched:
        assert found == []
        places = [after.index(line) for line in mine if line in after]
        whole = len(places) == len(mine) and places == list(range(places[0], places[0] + len(mine)))
        assert not whole, "what is still in one piece was not touched"
    else:
        ((span),) = found
        assert after[span.first - 1 : span.last] == mine


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_reports_hold_no_text_of_others_as_markup(text):
    from html.parser import HTMLParser

    from tests.unit.backports.test_report import matrix

    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)

    plain, hostile = matrix("x"), matrix(f"<script>{text}</script>")
    Reader().feed(html(plain))
    expected = list(tags)
    tags.clear()
    Reader().feed(html(hostile))
    assert tags == expected
    assert len(markdown(hostile).splitlines()) == len(markdown(plain).splitlines())
