"""Platforms kept in a folder."""

from __future__ import annotations

import json
import stat
from datetime import timedelta

import pytest
from tests.support.emulation import MADE, judge
from tests.support.evidence import AT, BOOT, DATA, cca, snp

from haulout.emulator import make_bundle, store
from haulout.errors import ContentError, StorageError


@pytest.mark.parametrize("kind", MADE)
def test_a_platform_keeps_its_keys(kind, tmp_path):
    folder = tmp_path / "lab" / "one"
    first = store.open_or_make(folder, kind, AT)
    again = store.open_or_make(folder, kind, AT + timedelta(days=400))
    assert store.dump(first) == store.dump(again)
    assert stat.S_IMODE((folder / store.STATE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [store.STATE]
    made = make_bundle(first, BOOT, AT, report_data=DATA)
    assert judge(kind, make_bundle(again, BOOT, AT, report_data=DATA), policy=made.files["policy.toml"]).accepted


def test_a_folder_keeps_one_platform(tmp_path):
    store.keep(tmp_path, store.STATE, store.dump(snp()), private=True)
    assert store.dump(store.open_or_make(tmp_path, "snp", AT)) == store.dump(snp())
    with pytest.raises(ContentError, match="keeps an emulator of snp") as caught:
        store.open_or_make(tmp_path, "tdx", AT)
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "{",
        lambda text: "[]",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"kind": "cca"', '"kind": "sgx"'),
        lambda text: text.replace("BEGIN PRIVATE", "BEGIN PUBLIC"),
        lambda text: text.replace("MIG", "MII"),
        lambda text: json.dumps(json.loads(text) | {"instance": "zz"}),
        lambda text: json.dumps(json.loads(text) | {"root": None}),
        lambda text: json.dumps(json.loads(text) | {"root": {"key": 1, "certificate": 2}}),
    ],
)
def test_what_does_not_keep_an_emulator(change, tmp_path):
    text = store.dump(cca()).decode()
    (tmp_path / store.STATE).write_text(change(text))
    with pytest.raises(ContentError) as caught:
        store.open_or_make(tmp_path, "cca", AT)
    assert "BEGIN" not in str(caught.value)
    assert (tmp_path / store.STATE).read_text() == change(text)


def test_a_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        store.open_or_make(tmp_path / "file", "cca", AT)
    with pytest.raises(StorageError):
        store.keep(tmp_path / "file", "x", b"")
