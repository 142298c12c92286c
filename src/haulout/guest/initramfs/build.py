"""The guest as files: a kernel, and an initramfs of a Python that holds what the guest imports and nothing else.

The same packages and the same haulout give the same bytes, and so the same launch measurement.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from haulout.documents import Document
from haulout.errors import ToolError, UsageError
from haulout.guest.initramfs import cpio, modules, packages
from haulout.local import parse_json, read_text, replace_file, run, storage_errors, wrong_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from haulout.progress import Progress

KERNEL: Final = "vmlinuz"
INITRAMFS: Final = "initramfs"
ABOUT: Final = "guest.json"
COMMAND_LINE: Final = "console=ttyS0 quiet loglevel=4 panic=-1 no_timer_check"
"""Of the kernel. no_timer_check: an emulated guest on a busy host panics otherwise, since the timer seems broken."""
LARGEST: Final = 12 << 20
"""Bytes of an initramfs."""
_HERE: Final = Path(__file__).resolve().parent
_PROGRAMS: Final = {
    "bin/busybox": ("busybox",),
    "usr/sbin/cryptsetup": ("cryptsetup",),
    "usr/sbin/veritysetup": ("veritysetup",),
}
_LOADERS: Final = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
_OURS: Final = ("haulout", "joserfc")
"""Packages of this installation; the others are Debian's."""
_SECONDS: Final = 600.0
_ETC: Final = {"etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "etc/hostname": "workload\n"}


@dataclass(frozen=True, slots=True)
class GuestFiles(Document):
    """A guest, ready to be booted.

    Attributes:
        folder: where the files are.
        kernel: of Linux.
        initramfs: holds the guest.
        command_line: of the kernel.
        size: bytes of the initramfs.
        digests: SHA-256 of kernel and initramfs, in hexadecimal.
        packages: version of each package of Debian.
    """

    folder: Path
    kernel: Path
    initramfs: Path
    command_line: str
    size: int
    digests: dict[str, str]
    packages: dict[str, str]


def build_guest(folder: Path, work: Path, progress: Progress, *, kernel: str | None = None) -> GuestFiles:
    """Build a guest for this machine's architecture into a folder.

    Args:
        folder: gets the files; made where it is not there.
        work: an empty folder for what is needed on the way.
        progress: told what is done.
        kernel: the package of the kernel, or one that depends on it; None: Debian's for virtual machines.

    Raises:
        ToolError: apt or dpkg is not installed, or cannot get a package.
        UsageError: there is no kernel for this architecture.
        StorageError: the file system refuses.
    """
    architecture = platform.machine()
    if kernel is None and architecture not in packages.KERNELS:
        raise UsageError(f"no kernel is known for {architecture}", hint="name its package: --kernel-package")
    progress.note("fetching the packages of Debian")
    names = [*packages.closure(), packages.kernel_package(kernel or packages.KERNELS[architecture])]
    versions = packages.fetch(names, work)
    tree = _Tree(work / "root", architecture)
    progress.note("choosing what the guest needs of them")
    entries = list(tree.entries())
    progress.note("compressing")
    data = lzma.compress(b"".join(cpio.pack(entries)), lzma.FORMAT_XZ, lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)
    if len(data) > LARGEST:
        raise ToolError("haulout", f"the initramfs has {len(data)} bytes; at most {LARGEST} are meant to be")
    vmlinuz = next((work / "root/boot").glob("vmlinuz-*")).read_bytes()
    digests = {name: hashlib.sha256(one).hexdigest() for name, one in ((KERNEL, vmlinuz), (INITRAMFS, data))}
    made = GuestFiles(folder, folder / KERNEL, folder / INITRAMFS, COMMAND_LINE, len(data), digests, versions)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(made.kernel, vmlinuz)
        replace_file(made.initramfs, data)
        replace_file(folder / ABOUT, json.dumps(made.to_dict(), indent=1).encode() + b"\n")
    return made


class _Tree:
    """The unpacked packages, and which of their files a guest needs."""

    def __init__(self, root: Path, architecture: str) -> None:
        self._root = root
        self._loader_name = _LOADERS[architecture]
        triplet = f"{architecture}-linux-gnu"
        self._libraries = [path for name in ("lib", "usr/lib") if (path := root / name / triplet).is_dir()]
        loader = Path(self._loader_name).name
        # Not lib64/: what is there is a link that leads to this machine's own.
        self._loader = next(
            path for place in self._libraries if (path := place / loader).is_file() and not path.is_symlink()
        )
        self._python = next(path for path in sorted((root / "usr/bin").glob("python3.*")) if path.name[9:].isdigit())
        self._stdlib = root / "usr/lib" / self._python.name
        self._site = root / "usr/lib/python3/dist-packages"

    def entries(self) -> Iterator[cpio.Entry]:
        """Yield what goes into the archive."""
        for package in _OURS:
            spec = find_spec(package)
            if spec is None or not spec.submodule_search_locations:
                raise ToolError(package, "is not installed", hint="install it with: pip install 'haulout[broker]'")
            shutil.copytree(spec.submodule_search_locations[0], self._site / package, dirs_exist_ok=True)
        programs = {"usr/bin/python3": self._python}
        for name, (program,) in _PROGRAMS.items():
            programs[name] = next(
                path
                for place in ("bin", "sbin", "usr/bin", "usr/sbin")
                if (path := self._root / place / program).is_file()
            )
        loaded = list(self._imported())
        yield from self._compiled([path for path in loaded if path.suffix == ".py"])
        extensions = [path for path in loaded if path.suffix == ".so"]
        yield from (cpio.file(self._place(path), path.read_bytes()) for path in extensions)
        yield from (cpio.file(name, path.read_bytes(), executable=True) for name, path in programs.items())
        yield from self._needed([*programs.values(), *extensions])
        # Debian's cryptography does not start without it.
        for legacy in self._root.rglob("ossl-modules/legacy.so"):
            yield cpio.file(self._place(legacy), legacy.read_bytes())
        yield cpio.file(self._loader_name, self._loader.read_bytes(), executable=True)
        ordered = modules.in_order(self._root)
        yield from (cpio.file(f"modules/{name}", data) for name, data in ordered.items())
        yield cpio.file("modules/order", "".join(f"{name}\n" for name in ordered).encode())
        yield cpio.file("init", (_HERE / "init").read_bytes(), executable=True)
        yield cpio.file("etc/udhcpc", (_HERE / "udhcpc").read_bytes(), executable=True)
        yield from (cpio.file(name, text.encode()) for name, text in _ETC.items())
        yield from (cpio.Entry(name, 0o40755) for name in ("proc", "sys", "dev", "run", "tmp"))
        # The kernel opens it for the first process before anything is mounted.
        yield cpio.Entry("dev/console", 0o20600, device=(5, 1))

    def _place(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _run(self, *argv: str) -> str:
        """Run a program of the packages by their own loader and libraries, whatever this machine has."""
        environment = {
            "PYTHONHOME": str(self._root / "usr"),
            "PYTHONPATH": str(self._site),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.defpath,
        }
        libraries = ":".join(map(str, self._libraries))
        done = run([str(self._loader), "--library-path", libraries, *argv], seconds=_SECONDS, environment=environment)
        if done.code:
            raise ToolError(Path(argv[-1]).name, f"of Debian failed: {done.said}")
        return done.out.decode()

    def _imported(self) -> Iterator[Path]:
        """Yield the files of Python that the guest imports, found by doing once what it does."""
        told = self._run(str(self._python), "-s", "-m", "haulout.guest.rehearsal")
        for line in sorted(set(told.splitlines())):
            path = Path(line)
            # Some are built into the interpreter, or frozen.
            if path.is_relative_to(self._root):
                yield path

    def _compiled(self, sources: list[Path]) -> Iterator[cpio.Entry]:
        """Yield modules as bytecode alone: a guest compiles nothing, and holds each once."""
        script = self._root / "compile.py"
        script.write_text(_COMPILE)
        listed = self._root / "sources"
        listed.write_text("\n".join(map(str, sources)))
        self._run(str(self._python), "-s", str(script), str(listed), str(self._root))
        for path in sources:
            compiled = path.with_suffix(".pyc")
            yield cpio.file(self._place(compiled), compiled.read_bytes())

    def _needed(self, programs: list[Path]) -> Iterator[cpio.Entry]:
        """Yield the libraries that programs and extensions are linked with."""
        found: set[Path] = set()
        for program in programs:
            for line in self._run("--list", str(program)).splitlines():
                path = Path(line.partition(" => ")[2].rpartition(" (")[0].strip() or "/")
                if path.is_relative_to(self._root) and path.is_file():
                    found.add(path)
                elif "not found" in line:
                    raise ToolError(program.name, f"of Debian needs a library that is not there: {line.strip()}")
        for path in sorted(found):
            yield cpio.file(f"lib/{path.parent.name}/{path.name}", path.read_bytes())


_COMPILE: Final = """
import py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in open(sys.argv[1]).read().splitlines():
    shown = path.removeprefix(sys.argv[2])
    py_compile.compile(path, path[:-3] + ".pyc", shown, doraise=True, invalidation_mode=mode)
"""


def read_guest(folder: Path) -> GuestFiles:
    """Read a guest that :func:`build_guest` made; its files may have been changed since: nothing is compared.

    Raises:
        NotFoundError: there is none.
        InvalidFile: it is not one.
    """
    table = parse_json(read_text(folder / ABOUT), wrong_file(folder / ABOUT))
    digests, versions = table.take("digests"), table.take("packages")
    return GuestFiles(
        folder,
        folder / KERNEL,
        folder / INITRAMFS,
        table.text("command_line"),
        table.number("size", None, 1 << 40),
        dict(digests),
        dict(versions),
    )
