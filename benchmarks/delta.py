"""Updates beside the tools people use today, in one run: bytes and requests moved by each method, time, memory.

Usage: python benchmarks/delta.py [OLD.raw NEW.raw] [--svg FILE] [--table FILE] [--quick]. OLD and NEW are a disk before
and after an update; without them they are made from this machine's packages. Needs docker-registry, skopeo, zstd, curl,
e2fsprogs and qemu-img; casync and ntfs-3g (pairs of NTFS disks) join in where they are installed. Everything is on loopback and counted; ratios are what to
look at. docs/updates.md shows the picture and the table of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chart
import pairs
import times
import xxhash
import zstandard
from lab import KIND, LEVEL, QUIET, Lab, Update, own
from transfer import HAULOUT, registry, sh

from haulout.disk.sparse import data_extents

BLOCK = 4096
HOPS = """# Five successive versions

Bytes moved by an update from the row's version to the column's, in MB (in brackets: of the whole blob), with nothing prepared:
no delta, the old disk named as a seed. Made by `python benchmarks/delta.py --table docs/hops.md`: a disk of 150 MB from Debian
packages, of which each version changes a tenth and is built afresh. No update moves more than the whole.

"""


def measured(*argv: object) -> tuple[str, float, int]:
    """Run a command; return its output, seconds and peak MiB."""
    begun = time.monotonic()
    done = subprocess.run(["/usr/bin/time", "-f", "%M", *map(str, argv)], capture_output=True, check=True)
    return done.stdout.decode(), time.monotonic() - begun, int(done.stderr.split()[-1]) // 1024


def blocks(disk: Path) -> dict[int, bytes]:
    """Return the different blocks of a disk by hash, zeros left out."""
    found: dict[int, bytes] = {}
    with disk.open("rb", buffering=0) as file:
        for extent in data_extents(file.fileno(), disk.stat().st_size):
            for at in range(extent.offset, extent.end, BLOCK):
                block = os.pread(file.fileno(), BLOCK, at)
                found.setdefault(xxhash.xxh3_64_intdigest(block), block)
    found.pop(xxhash.xxh3_64_intdigest(bytes(BLOCK)), None)
    return found


def floor(old: Path, new: Path) -> float:
    """Megabytes of the changed blocks, each compressed alone."""
    before, after = blocks(old), blocks(new)
    context = zstandard.ZstdCompressor(level=LEVEL)
    return sum(len(context.compress(block)) for key, block in after.items() if key not in before) / 1e6


def packed(disk: Path, out: Path) -> Path:
    """Write the data of a disk without its holes."""
    with disk.open("rb", buffering=0) as file, out.open("wb") as target:
        for extent in data_extents(file.fileno(), disk.stat().st_size):
            for at in range(extent.offset, extent.end, pairs.MIB):
                target.write(os.pread(file.fileno(), min(pairs.MIB, extent.end - at), at))
    return out


def patch_from(lab: Lab, old: Path, new: Path, level: int) -> Update:
    """Let zstd compress NEW against OLD, holes left out of both."""
    one, two, out = packed(old, lab.folder / "p1"), packed(new, lab.folder / "p2"), lab.folder / "patch"
    begun = time.monotonic()
    sh("zstd", "-q", "-f", f"-{level}", "--single-thread", "--long=31", f"--patch-from={one}", two, "-o", out)
    return Update(f"zstd -{level} --patch-from", out.stat().st_size / 1e6, seconds=time.monotonic() - begun)


def casync(lab: Lab, old: Path, new: Path) -> Update | None:
    """Chunk both with casync's defaults; count the chunks NEW needs that OLD does not have."""
    if shutil.which("casync") is None:
        return None
    store, older = lab.folder / "store.castr", lab.folder / "older.castr"
    begun = time.monotonic()
    sh("casync", "make", f"--store={older}", lab.folder / "old.caibx", old)
    sh("casync", "make", f"--store={store}", lab.folder / "new.caibx", new)
    took = time.monotonic() - begun
    have = {path.name for path in older.rglob("*.cacnk")}
    need = [path for path in store.rglob("*.cacnk") if path.name not in have]
    index = (lab.folder / "new.caibx").stat().st_size
    update = Update("casync, 64 KiB chunks", (sum(p.stat().st_size for p in need) + index) / 1e6, len(need) + 1, took)
    shutil.rmtree(store)
    shutil.rmtree(older)
    return update


def compare(lab: Lab, title: str, name: str, old: Path, new: Path, *, levels: tuple[int, ...]) -> list[Update]:
    """Move from OLD to NEW in every way, and print them."""
    print(f"\n{title}", flush=True)
    lab.push(name, "1", old)
    pushed, push_seconds, _ = measured(HAULOUT, "push", lab.ref(name, "2"), new, "--level", LEVEL, *KIND, *QUIET)
    disk = json.loads(pushed)["disks"][0]
    whole, data = disk["blob"]["size"], sum_data(new)
    seed = lab.folder / "seed.raw"
    subprocess.run(["cp", "--sparse=always", old, seed], check=True)
    rows = [Update("whole disk", whole / 1e6, 1)]
    lab.fresh()
    full = lab.pull(name, "2")
    rows[0] = Update("whole disk (haulout pull)", full["fetched"] / 1e6, full["requests"], full["seconds"])
    found = lab.pull(name, "2", "--seed", seed, "--no-delta")
    rows.append(own("haulout, nothing prepared", found))
    made, seconds, memory = measured(HAULOUT, "delta", lab.ref(name, "1"), lab.ref(name, "2"), *KIND, *QUIET)
    out = lab.folder / "out.raw"
    out.unlink(missing_ok=True)
    applied, apply_seconds, apply_memory = measured(
        HAULOUT, "pull", lab.ref(name, "2"), "-o", out, "--seed", seed, *KIND, *QUIET
    )
    rows.append(own("haulout, published delta", json.loads(applied)))
    least = floor(old, new)
    rows.append(Update("changed 4 KiB blocks, each alone", least))
    rows += [patch_from(lab, old, new, level) for level in levels]
    rows += [update] if (update := casync(lab, old, new)) else []
    for row in rows:
        print(row)
    delta_size = sum(json.loads(made)[part]["size"] for part in ("index", "data"))
    index = (json.loads(applied)["index"] if json.loads(applied)["delta"] is None else found["index"]) / data
    best = rows[-2 if rows[-1].name.startswith("casync") else -1]
    print(
        f"  nothing prepared / floor: {rows[1].megabytes / least:.3f} (1.06); index {100 * index:.3f} % of data (0.35)"
    )
    print(f"  published delta / {best.name}: {rows[2].megabytes / best.megabytes:.3f} (1.10)")
    print(f"  making the delta: {seconds:.1f} s (90), {memory} MiB (2048); {delta_size / 1e6:.2f} MB")
    print(f"  applying it: {apply_seconds:.2f} s, {apply_memory} MiB (512)")
    print(f"  pushing NEW took {push_seconds:.1f} s with OLD as its base")
    return rows


def sum_data(disk: Path) -> int:
    with disk.open("rb", buffering=0) as file:
        return sum(extent.length for extent in data_extents(file.fileno(), disk.stat().st_size))


def hops(lab: Lab, megabytes: int) -> list[list[str]]:
    """Five successive versions, a client at any of them: bytes to each later one, against the whole blob."""
    print("\nFive successive versions: MB moved from row to column, nothing prepared (in brackets: of the whole blob)")
    folder, size = pairs.tree(lab.folder / "hops", megabytes), f"{3 * megabytes}M"
    disks, whole = [], []
    for version in range(5):
        if version:
            pairs.update(folder, version)
        disks.append(pairs.ext4(folder, lab.folder / f"hop{version}.raw", size))
        whole.append(lab.push("hops", f"1.{version}", disks[-1])["disks"][0]["blob"]["size"])
    table = [["from", *(f"to 1.{version}" for version in range(1, 5))]]
    for old in range(4):
        row = [f"1.{old}"]
        for new in range(1, 5):
            if new <= old:
                row.append("")
                continue
            lab.fresh()
            report = lab.pull("hops", f"1.{new}", "--seed", disks[old], "--no-delta")
            worse = " MORE THAN THE WHOLE" if report["fetched"] > whole[new] else ""
            row.append(f"{report['fetched'] / 1e6:.1f} ({100 * report['fetched'] / whole[new]:.0f} %){worse}")
        table.append(row)
    table.append(["whole", *(f"{size / 1e6:.1f}" for size in whole[1:])])
    for row in table:
        print("  " + "  ".join(f"{cell:>16}" for cell in row))
    for disk in disks:
        disk.unlink()
    return table


def windows(folder: Path, tree: Path) -> list[tuple[str, Path, Path, str]]:
    """Make pairs of NTFS disks: updated in place and made afresh, at a block of 4096 bytes and at sector 63."""
    system = pairs.ntfs(tree, folder / "ntfs.raw", "400M")
    if system is None:
        print("  NTFS: left out; install ntfs-3g, which has mkntfs and ntfscp")
        return []
    changed = pairs.update(tree, 99)
    updated = pairs.ntfs_update(system, tree, changed, folder / "ntfs-updated.raw")
    afresh = pairs.ntfs(tree, folder / "ntfs-afresh.raw", "400M")
    made = []
    for sector in (2048, 63):
        old, new, again = (
            pairs.partitioned(each, folder / f"{each.stem}-{sector}.raw", sector) for each in (system, updated, afresh)
        )
        made += [(f"NTFS at {sector}, in place", old, new, "raw"), (f"NTFS at {sector}, afresh", old, again, "raw")]
    return made


def others(lab: Lab, old: Path, new: Path, tree: Path | None) -> None:
    """Kinds of disks that give little or nothing to reuse: never worse than the whole by more than 1 %."""
    print("\nOther kinds of disks: bytes moved from OLD to NEW, against the whole blob (1.01)")
    folder = lab.folder
    made: list[tuple[str, Path, Path, str]] = []
    for kind, extension, flags in (("compressed qcow2", "qcow2", ["-c"]), ("vhdx", "vhdx", [])):
        both = []
        for number, disk in enumerate((old, new)):
            out = folder / f"other{number}.{extension}"
            sh("qemu-img", "convert", "-f", "raw", "-O", extension, *flags, disk, out)
            both.append(out)
        made.append((kind, *both, {"qcow2": "qemu", "vhdx": "hyperv"}[extension]))
    made.append(("moved by 1337 bytes", old, pairs.shifted(new, folder / "shifted.raw", 1337), "raw"))
    noise = [pairs.incompressible(folder / f"noise{number}.raw", 200, number) for number in range(2)]
    made.append(("incompressible", *noise, "raw"))
    if tree is not None:
        made += windows(folder, tree)
    for number, (kind, one, two, disk_type) in enumerate(made):
        lab.fresh()
        name, flags = f"other{number}", ("--arch", "x86_64", "--type", disk_type, *QUIET)
        for tag, disk in (("1", one), ("2", two)):
            pushed = json.loads(sh(HAULOUT, "push", lab.ref(name, tag), disk, "--level", LEVEL, *flags))
        whole = pushed["disks"][0]["blob"]["size"]
        for tag in ("1", "2"):
            report = json.loads(sh(HAULOUT, "pull", lab.ref(name, tag), "-o", folder / f"o{tag}", *flags))
        print(f"  {kind:22} {report['fetched'] / 1e6:8.2f} of {whole / 1e6:8.2f} MB: {report['fetched'] / whole:.3f}")
        for path in (folder / "o1", folder / "o2"):
            path.unlink()


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("disks", nargs="*", type=Path, metavar="OLD NEW")
    parser.add_argument("--svg", type=Path, help="draw the first comparison into this file")
    parser.add_argument("--table", type=Path, help="write the table of hops, as Markdown, into this file")
    parser.add_argument("--quick", action="store_true", help="small disks, one round")
    options = parser.parse_args()
    megabytes, levels = (60, (3,)) if options.quick else (300, (3, 19))
    with tempfile.TemporaryDirectory(prefix="haulout-bench-", dir="/var/tmp") as name, registry(Path(name)) as host:
        lab = Lab(Path(name), host)
        tree = pairs.tree(lab.folder / "tree", megabytes)
        size = f"{6 * megabytes}M"
        first = pairs.ext4(tree, lab.folder / "first.raw", size)
        changed = pairs.update(tree, 1)
        upgraded = pairs.in_place(first, tree, changed, lab.folder / "upgraded.raw")
        if options.disks:
            old, new = (disk.resolve() for disk in options.disks)
        else:
            old, new = first, pairs.ext4(tree, lab.folder / "second.raw", size)
        rows = compare(lab, f"Rebuilt: {old.name} → {new.name}", "rebuilt", old, new, levels=levels)
        rounds = 1 if options.quick else 5
        times.used(lab, "rebuilt", old)
        times.timed(lab, "rebuilt", rounds)
        times.slowly(lab, "rebuilt", rounds)
        compare(lab, "Upgraded in place", "upgraded", first, upgraded, levels=levels)
        times.timed(lab, "upgraded", rounds)
        table = hops(lab, 30 if options.quick else 150)
        others(lab, old, new, tree)
    if options.svg:
        rows.sort(key=lambda row: -row.megabytes)
        remark = [
            (row.name, row.megabytes, f", {row.requests} requests" if row.requests else "", row.ours) for row in rows
        ]
        chart.bars(options.svg, "A security update of a Debian disk: bytes moved", remark)
    if options.table:
        lines = [" | ".join(["", *row, ""]).strip() for row in table]
        lines.insert(1, "|" + "---|" * len(table[0]))
        options.table.write_text(HOPS + "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
