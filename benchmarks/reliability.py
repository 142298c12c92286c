"""Kill push and pull with SIGKILL at hundreds of points; look at what is left, run again, look again.

Usage: python benchmarks/reliability.py [POINTS]. POINTS of push and as many of pull, 200 each unless told. Needs
docker-registry, strace and qemu-img. Everything is on loopback. Four minutes on two free processors; it stops after ten.
Exits 1 if there were too few points, or a promise is broken:

* no wrong result is ever visible: a target is absent, old or right; a tag is absent, old, or complete with all it names;
* the same command, run again, completes;
* it fetches no frame that was verified and written before;
* nothing of ours stays behind then.

A point is "before the Nth call of SYSCALL of a thread" (strace injects the signal there) or, for every fifth, a moment.
Every fourth run is killed twice before it may complete. The processes are forked from one that has the modules loaded.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cases import (
    FLAGS,
    Case,
    Disk,
    LayoutPlace,
    Pull,
    PullAs,
    PullLayout,
    PullWhole,
    Push,
    PushAlso,
    PushLayout,
)
from transfer import registry
from victims import Point, Stable, Wrong

from haulout.frames.toc import Toc

WORKERS = 2
LONGEST = 570.0
"""Seconds after which no more points are tried."""

SHARES = (
    (Push, 0.5),
    (PushLayout, 0.3),
    (PushAlso, 0.2),
    (Pull, 0.45),
    (PullLayout, 0.25),
    (PullWhole, 0.15),
    (PullAs, 0.15),
)


@dataclass
class Tally:
    """What was seen."""

    points: int = 0
    distinct: set[Point] = field(default_factory=set)
    old: int = 0
    new: int = 0
    completed: int = 0
    refetched: int = 0
    strays_killed: int = 0
    strays_left: int = 0
    wrong: list[str] = field(default_factory=list)


class Bench:
    """Disks, places, and the trying of points."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.host = host
        self.random = random.Random(5)
        self.lock = threading.Lock()
        self.deadline = time.monotonic() + LONGEST
        self.stables = [Stable(folder / f"stable{number}") for number in range(WORKERS)]
        self.disk = Disk(make_disk(folder / "disk.raw", 48 << 20, 160 << 20))
        self._publish()

    def _publish(self) -> None:
        stable, environment = self.stables[0], {"XDG_CACHE_HOME": str(self.folder / "cache")}
        old = make_disk(self.folder / "old.raw", 1 << 20, 4 << 20)
        for place in (f"{self.host}/old", f"oci:{self.folder}/old"):
            both = [f"--disk={arch}/raw={old}" for arch in ("aarch64", "x86_64")]
            done = stable.run(["push", f"{place}:5.0", *both, "--progress", "none", "--json"], environment)
        self.old_sha256 = done["disks"][0]["disk"]["digest"]
        for place in (f"{self.host}/new", f"oci:{self.folder}/new"):
            argv = ["push", f"{place}:5.0", str(self.disk.path), "--level", "1", *FLAGS]
            disk = stable.run(argv, environment)["disks"][0]
        toc = disk["toc"]["digest"]
        self.disk.sha256, self.disk.toc_size = disk["disk"]["digest"], disk["toc"]["size"]
        self.disk.toc = Toc.decode(LayoutPlace(self.folder / "new").get(toc, "blobs"))
        self.clone("new", "whole")
        shutil.rmtree(self._repository("whole") / "_layers/sha256" / toc.removeprefix("sha256:"))

    def clone(self, source: str, target: str) -> None:
        """Copy a repository within the registry: its links only, the blobs are shared."""
        shutil.copytree(self._repository(source), self._repository(target))

    def _repository(self, name: str) -> Path:
        return self.folder / "registry/docker/registry/v2/repositories" / name

    def run(self, kind: type[Case], wanted: int) -> Tally:
        """Try ``wanted`` points of one case."""
        case, tally, stable = kind(self), Tally(), self.stables[0]
        place = case.place()
        begun = time.monotonic()
        clean = stable.run(case.argv(place), place.environment)
        seconds = time.monotonic() - begun
        if isinstance(case, Pull) and clean["requests"]:
            case.overhead = clean["received"] - clean["fetched"]
        shutil.rmtree(place.folder)
        place = case.place()
        points = stable.census(case.argv(place), place.environment)
        shutil.rmtree(place.folder)
        self.random.shuffle(points)
        waiting = itertools.cycle(points)

        def work(mine: Stable) -> None:
            for number in itertools.count(1):
                with self.lock:
                    if tally.points >= wanted or time.monotonic() > self.deadline:
                        return
                    tally.points += 1
                    point = Point(seconds=self.random.uniform(0.02, seconds)) if number % 5 == 0 else next(waiting)
                    again = next(waiting) if number % 4 == 0 else None
                reached = self._try(case, mine, point, again, tally)
                with self.lock:
                    if reached:
                        tally.distinct.add(point)
                    else:
                        tally.points -= 1

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, self.stables))
        return tally

    def _try(self, case: Case, stable: Stable, point: Point, again: Point | None, tally: Tally) -> bool:
        place = case.place()
        try:
            reached = stable.kill(case.argv(place), place.environment, point)
            state = case.state(place)
            if again is not None and state != "new":
                stable.kill(case.argv(place), place.environment, again)
                state = case.state(place)
            owed, strays = case.owed(place), len(place.strays())
            result = stable.run(case.argv(place), place.environment)
            case.require_new(place)
            refetched, left = case.refetched(result, owed), place.strays()
        except Wrong as wrong:
            with self.lock:
                tally.wrong.append(f"{case.name}, {point}: {wrong}")
            return True
        finally:
            shutil.rmtree(place.folder)
        with self.lock:
            if left or refetched:
                tally.wrong.append(f"{case.name}, {point}, {again}: {refetched} bytes fetched again, left {left[:3]}")
            if reached:
                tally.old += state != "new"
                tally.new += state == "new"
                tally.completed += 1
                tally.strays_killed += strays
            tally.refetched += refetched
            tally.strays_left += len(left)
        return reached


def make_disk(path: Path, data: int, size: int) -> Path:
    """Write a sparse disk of ``size`` bytes: files of this machine, with holes and well compressible stretches between."""
    stretch = 3 << 20
    files = (path for path in sorted(Path("/usr/lib").rglob("*.so*")) if path.is_file() and not path.is_symlink())
    content = itertools.chain.from_iterable(path.read_bytes() for path in files)
    with path.open("wb") as disk:
        disk.truncate(size)
        disk.write(bytes(510) + b"\x55\xaa")
        for number, offset in enumerate(range(1 << 20, size, max(size * stretch // data, stretch))):
            disk.seek(offset)
            if number % 3 == 2:
                piece = b"".join(b"%08d every line but its number is the same\n" % n for n in range(stretch // 50))
            else:
                piece = bytes(itertools.islice(content, min(stretch, data)))
            disk.write(piece[: size - offset])
    return path


def main() -> int:
    """Run everything and print the figures."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    begun = time.monotonic()
    total: Counter[str] = Counter()
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="haulout-reliability-", dir="/var/tmp") as name:
        folder = Path(name)
        with registry(folder) as host:
            bench = Bench(folder, host)
            toc = bench.disk.toc
            print(
                f"disk: {toc.disk.size} bytes, {toc.data_bytes} of data, {len(toc.data_frames)} data frames, blob {toc.blob_size}"
            )
            for kind, share in SHARES:
                wanted_here = max(1, round(wanted * share))
                tally = bench.run(kind, wanted_here)
                print(
                    f"{kind.name:27} {tally.points:4} points ({len(tally.distinct)} distinct; left {tally.old} old or none, "
                    f"{tally.new} new), {len(tally.wrong)} wrong, {tally.completed} reruns completed, "
                    f"{tally.refetched} bytes of verified frames fetched again, strays {tally.strays_killed} -> {tally.strays_left}",
                    flush=True,
                )
                broken += tally.wrong
                if tally.points < wanted_here:
                    broken.append(f"{kind.name}: {tally.points} points in the time there is, {wanted_here} wanted")
                verb = "push" if issubclass(kind, Push) else "pull"
                total[f"points of {verb}"] += tally.points
                total["wrong results, or promises broken"] += len(tally.wrong)
                total["reruns completed"] += tally.completed
                total["bytes of verified frames fetched again"] += tally.refetched
                total["stray files left"] += tally.strays_left
            for stable in bench.stables:
                stable.close()
    for what, number in total.items():
        print(f"{what}: {number}")
    print(*broken[:40], f"{time.monotonic() - begun:.0f} s", sep="\n")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
