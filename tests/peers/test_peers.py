"""What today's tools do with tags of Haulout, and Haulout with theirs: each line of the table in docs/other-tools.md."""

from __future__ import annotations

import pytest
from tests.peers.lab import lab as laboratory
from tests.peers.table import DOCUMENT, ROWS, render, written
from tests.support.peers import peers
from tests.support.servers import needs


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("lab") / "lab", peers()) as made:
        yield made


@pytest.mark.tools
@needs("docker-registry", "qemu-img", "zstd")
@pytest.mark.parametrize("row", ROWS, ids=[row.command for row in ROWS])
def test_peers_and_haulout(lab, row):
    assert row.does(lab) == row.outcome


def test_the_document_is_what_a_run_made():
    made, versions = written(DOCUMENT.read_text())
    assert made == render({row.command: row.outcome for row in ROWS}, versions)


def test_commands_name_one_row_each():
    assert len({row.command for row in ROWS}) == len(ROWS)
