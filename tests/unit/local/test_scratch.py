"""Private folders: gone at the end, and those of killed processes gone with the next."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from haulout.errors import StorageError
from haulout.local.scratch import APART, BESIDE, lasting_folder, private_folder, scratch_folder, sweep

SOURCE = Path(__file__).parents[3] / "src"

_HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from haulout.local.scratch import scratch_folder
with scratch_folder(Path(sys.argv[2]), sys.argv[3]) as place:
    (place / "half").write_bytes(bytes(1000))
    print(place, flush=True)
    sys.stdin.read()
"""


def holder(folder: Path, prefix: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", _HOLDER, str(SOURCE), str(folder), prefix]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_it_is_private_and_gone_afterwards(tmp_path):
    with scratch_folder(tmp_path, BESIDE) as place:
        assert place.parent == tmp_path
        assert place.stat().st_mode & 0o777 == 0o700
        (place / "deep").mkdir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("prefix", [BESIDE, APART])
def test_what_a_killed_process_left_goes_and_what_a_living_one_uses_stays(tmp_path, prefix):
    with holder(tmp_path, prefix) as living, holder(tmp_path, prefix) as dying:
        assert living.stdout is not None
        assert dying.stdout is not None
        used, abandoned = Path(living.stdout.readline().strip()), Path(dying.stdout.readline().strip())
        dying.kill()
        dying.wait(10)
        assert abandoned.is_dir()
        with scratch_folder(tmp_path, prefix):
            assert not abandoned.exists()
            assert (used / "half").exists()
        sweep(tmp_path, prefix)
        assert (used / "half").exists()
        living.kill()
        living.wait(10)
    sweep(tmp_path, prefix)
    assert list(tmp_path.iterdir()) == []


def test_only_folders_that_look_like_ours_are_touched(tmp_path):
    for name in (".haulout-", ".haulout-demo-abcdefgh", ".haulout-abcdefg", ".haulout-abcdefghi", "haulout-abcdefgh"):
        (tmp_path / name).mkdir()
    (tmp_path / ".haulout-afile_00").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".haulout-a_link_0").symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.iterdir())
    sweep(tmp_path, BESIDE)
    assert sorted(tmp_path.iterdir()) == before
    sweep(tmp_path / "absent", BESIDE)


def test_many_at_once_keep_their_own(tmp_path):
    lost: list[Path] = []

    def use() -> None:
        for _ in range(30):
            with scratch_folder(tmp_path, BESIDE) as place:
                (place / "x").write_bytes(b"x")
                os.sched_yield()
                if not (place / "x").exists():
                    lost.append(place)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert lost == []
    assert list(tmp_path.iterdir()) == []


def test_a_private_folder_is_gone_afterwards_and_a_lasting_one_stays(tmp_path):
    with private_folder("haulout-x-", tmp_path) as made:
        assert made.parent == tmp_path
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []
    made = lasting_folder("haulout-x-")
    made.rmdir()
    with pytest.raises(StorageError, match="cannot make a temporary folder"), private_folder("x-", tmp_path / "absent"):
        pass
