"""Partial clones: what they do not hold is not fetched, and what cannot be told without it is not guessed."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.libraries import CVE, Lab, security, vendoring

from haulout.backports import records
from haulout.backports.branch import branch
from haulout.backports.fixes import fixes
from haulout.backports.model import Outcome
from haulout.backports.naming import Consumer
from haulout.backports.pick import pick
from haulout.backports.status import status
from haulout.backports.verify import verify
from haulout.errors import ContentError

MODULE = "example.com/library/common"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = security(tmp_path_factory.mktemp("fixture") / "common")
    made.lab.git("config", "uploadpack.allowFilter", "true")
    made.lab.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return made


@pytest.fixture
def book(whole, tmp_path):
    path = tmp_path / "ledgers" / "backports.toml"
    path.parent.mkdir()
    path.write_text("")
    records.create(path, records.NewRecord(CVE, MODULE, "A fix", (whole.fix,)))
    return path


def partial(whole, place, *options: str) -> Lab:
    command = ["git", "clone", "-q", *options, f"file://{whole.lab.path}", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    clone = Lab(place, whole.lab.clock)
    clone.git("config", "user.name", "B")
    clone.git("config", "user.email", "b@example.com")
    return clone


def held(clone: Lab) -> str:
    return clone.git("count-objects", "-v")


def test_the_module_is_read_off_what_is_checked_out(whole, book, tmp_path):
    whole.lab.switch("other", "main")
    whole.lab.commit("Other go.mod", {"go.mod": f"module {MODULE}\n\ngo 1.22\n"})
    whole.lab.switch("main")
    clone = partial(whole, tmp_path / "clone", "--filter=blob:none", "--branch=other")
    before = held(clone)
    found = fixes(clone.path, "v0.61.0..v0.62.0", ledger=book)
    assert found.library == MODULE
    assert [one.id for one in (*found.fixed, *found.missing, *found.lost)] == [CVE]
    assert status(clone.path, [CVE], ledger=book).library == MODULE
    assert held(clone) == before


def test_without_trees_it_is_a_partial_clone_that_is_told(whole, book, tmp_path):
    clone = partial(whole, tmp_path / "clone", "--filter=tree:0", "--bare")
    before = held(clone)
    for act in (
        lambda: fixes(clone.path, "v0.61.0..v0.62.0", ledger=book),
        lambda: status(clone.path, [CVE], ledger=book),
        lambda: branch(clone.path, "v0.53.0", Consumer.parse("crio-1.31"), ledger=book),
    ):
        with pytest.raises(ContentError, match="partial clone"):
            act()
    assert held(clone) == before


def test_where_it_cannot_be_told_it_is_not_guessed(whole, book, tmp_path):
    clone = partial(whole, tmp_path / "clone", "--filter=blob:none", "--bare")
    before = held(clone)
    for act in (
        lambda: fixes(clone.path, "v0.61.0..v0.62.0", ledger=book),
        lambda: status(clone.path, [CVE], ledger=book),
        lambda: branch(clone.path, "v0.53.0", Consumer.parse("crio-1.31"), ledger=book),
    ):
        with pytest.raises(ContentError, match="cannot determine the library's name"):
            act()
    assert held(clone) == before
    with pytest.raises(ContentError) as caught:
        fixes(clone.path, "v0.61.0..v0.62.0", ledger=book)
    subprocess.run(str(caught.value.hint).partition("fetch it: ")[2], shell=True, check=True, capture_output=True)
    assert fixes(clone.path, "v0.61.0..v0.62.0", ledger=book).library == MODULE
    assert fixes(clone.path, "v0.61.0..v0.62.0", ledger=book, module=MODULE).library == MODULE


def test_a_pick_fetches_what_it_needs(whole, book, tmp_path):
    """Picking is git's work, and git cannot make a commit of files that it does not have."""
    clone = partial(whole, tmp_path / "clone", "--filter=blob:none", "--no-checkout")
    assert pick(clone.path, "v0.59", [whole.fix], ledger=book).outcome is Outcome.PICKED
    (record,) = records.load_all(book)
    assert (record.library, record.backports[0].branch) == (MODULE, "origin/v0.59")


def test_a_consumer_without_its_go_mod(tmp_path):
    made = vendoring(tmp_path / "made")
    made.consumer.git("config", "uploadpack.allowFilter", "true")
    command = ["git", "clone", "-q", "--filter=blob:none", "--bare"]
    subprocess.run([*command, f"file://{made.consumer.path}", tmp_path / "clone"], check=True, capture_output=True)
    with pytest.raises(ContentError, match=r"go\.mod at .* is not in this partial clone"):
        verify(made.library.lab.path, tmp_path / "clone", "release-1.25")
    with pytest.raises(ContentError, match=r"go\.mod at .* is not in this partial clone"):
        fixes(made.library.lab.path, "release-1.24..release-1.25", consumer=tmp_path / "clone")


def test_a_library_without_its_go_mod(tmp_path):
    made = vendoring(tmp_path / "made")
    made.library.lab.git("config", "uploadpack.allowFilter", "true")
    clone = partial(made.library, tmp_path / "clone", "--filter=blob:none", "--bare")
    with pytest.raises(ContentError, match="cannot determine the library's name"):
        verify(clone.path, made.consumer.path, "release-1.25")
