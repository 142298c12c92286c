"""What an update takes: its time on loopback and over a slow line, and its bytes from a disk that was in use."""

from __future__ import annotations

import statistics
import subprocess
from typing import TYPE_CHECKING

import filesystems
from lab import own
from throttle import slow_line

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab

MEGABIT = 1e6


def timed(lab: Lab, name: str, rounds: int) -> None:
    """Compare an update's time with our own full pull, on loopback."""
    seed = lab.folder / "seed.raw"
    on_loopback(lab, name, rounds, "Time on loopback", lab.folder, seed)
    with filesystems.xfs(lab.folder) as place:
        if place is not None:
            subprocess.run(["cp", "--sparse=always", seed, place / "seed.raw"], check=True)
            title = "Time on loopback where the file system shares blocks (XFS)"
            on_loopback(lab, name, rounds, title, place, place / "seed.raw")


def slowly(lab: Lab, name: str, rounds: int) -> None:
    """Compare an update's time over 50 Mbit/s with what its bytes take there."""
    seed = lab.folder / "seed.raw"
    print("Over 50 Mbit/s and 20 ms (medians)")
    for way, more in (("nothing prepared", ("--no-delta",)), ("published delta", ())):
        runs = [over_a_line(lab, name, seed, *more) for _ in range(min(rounds, 3))]
        inside, wall, carried = (statistics.median(values) for values in zip(*runs, strict=True))
        ideal = carried * 8 / (50 * MEGABIT)
        print(
            f"  {way:20} {inside:6.2f} s for {carried / 1e6:.1f} MB, {inside / ideal:.3f} of bytes/bandwidth (1.1)"
            f"; with the start of the program {wall / ideal:.3f}"
        )


def on_loopback(lab: Lab, name: str, rounds: int, title: str, folder: Path, seed: Path) -> None:
    """Time whole pulls and updates into ``folder``, in turn: inside the process, and as commands."""
    out, known = folder / "timed.raw", folder / "known.raw"
    lab.fresh()
    lab.pull(name, "1", "--no-seeds", out=known)
    ways = {
        "whole": ("--no-seeds",),
        "nothing prepared": ("--no-seeds", "--seed", seed, "--no-delta"),
        "published delta": ("--no-seeds", "--seed", seed),
        "from an earlier pull": ("--no-delta",),
    }
    inside: dict[str, list[float]] = {way: [] for way in ways}
    wall: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, more in ways.items():
            report = lab.pull(name, "2", *more, out=out)
            inside[way].append(report["seconds"])
            wall[way].append(report["wall"])
    out.unlink()
    known.unlink()
    print(f"\n{title} (medians)")
    for way in ways:
        within, whole = (statistics.median(times[way]) for times in (inside, wall))
        shares = [statistics.median(times[way]) / statistics.median(times["whole"]) for times in (inside, wall)]
        print(
            f"  {way:20} {within:6.2f} s, {shares[0]:.2f} of the whole pull (0.6);"
            f" with the start of the program {whole:.2f} s, {shares[1]:.2f}"
        )


def over_a_line(lab: Lab, name: str, seed: Path, *more: str) -> tuple[float, float, int]:
    """Update through a slow line; return the seconds inside the process, those of the command, and the bytes carried."""
    with slow_line(lab.host, 50 * MEGABIT) as (host, line):
        report = lab.pull(name, "2", "--no-seeds", "--seed", seed, *more, host=host)
        return report["seconds"], report["wall"], line.carried


def used(lab: Lab, name: str, old: Path) -> None:
    """Move from OLD as it is after a day of use: mounted, read and written to."""
    print("\nFrom the old disk after a day of use")
    disk = lab.folder / "used.raw"
    subprocess.run(["cp", "--sparse=always", old, disk], check=True)
    with filesystems.mounted(disk, lab.folder / "used") as root:
        if root is not None:
            filesystems.put_to_use(root)
    if root is not None:
        for way, more in (("haulout, nothing prepared", ("--no-delta",)), ("haulout, published delta", ())):
            print(own(way, lab.pull(name, "2", "--no-seeds", "--seed", disk, *more)))
    disk.unlink()
