"""Shows a confidential image from its build to its page, and eight attempts to cheat, each refused for its reason.

Usage: python demo/confidential.py [FOLDER]

It builds a container image, encrypts it, registers its key with a broker that it starts, and boots the guest under QEMU
with an emulated TEE. Nothing is installed, and no privilege is needed. FOLDER keeps the guest for the next time.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = "<h1>hello from the inside</h1>\n" + "<p>encrypted at rest, verified block by block</p>\n" * 400
WORKLOAD, OWNER = "web", "alice"
INSIDE = 8080
LIMIT = 400
"""Seconds for one boot, on a host that is busy with others."""
HAULOUT = (sys.executable, "-m", "haulout")


@dataclass(frozen=True)
class Attempt:
    """One boot, and how it has to end.

    Attributes:
        title: for people.
        prepare: changes copies of image and guest; returns more options.
        rule: of the guest, or ``died``; None: the page is served.
        reason: what the guest says, as a regular expression.
        broker: the rule in the broker's audit log; None: the broker was not asked, or not the one that counts.
    """

    title: str
    prepare: Callable[[Lab, Path, Path], list[str]]
    rule: str | None = None
    reason: str = ""
    broker: str | None = None


@dataclass
class Lab:
    """Everything that the boots share."""

    work: Path
    guest: Path
    image: Path
    passphrase: bytes
    url: str
    other_url: str
    token: str
    certificate: Path
    say: Callable[[str], None] = print
    rows: int = field(default=0)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Ask the broker as the owner."""
        return ask(self.url, self.certificate, self.token, method, path, body)

    def new_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the audit log that are new since the last call."""
        found = [json.loads(line) for line in self.ask("GET", f"/v1/log?after={self.rows}").splitlines() if line]
        rows = found[0] if len(found) == 1 and isinstance(found[0], list) else found
        self.rows = max([self.rows, *(int(row["number"]) for row in rows)])
        return rows


def ask(url: str, certificate: Path, token: str, method: str, path: str, body: bytes | None = None) -> bytes:
    """Send one request to a broker, and return its answer."""
    context = ssl.create_default_context(cafile=str(certificate))
    request = urllib.request.Request(url + path, body, {"Authorization": f"Bearer {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        return bytes(answer.read())


def haulout(*arguments: str | Path, cwd: Path) -> str:
    """Run one command, and return what it prints."""
    done = subprocess.run([*HAULOUT, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"haulout {' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def container_image(layout: Path, tag: str) -> None:
    """Write a container image as an image layout: busybox serves a page as a user of its own."""
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    buffer = io.BytesIO()
    files = {
        "bin/busybox": Path("/bin/busybox").read_bytes(),
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nwww:x:1000:1000:www:/www:/bin/sh\n",
        "www/index.html": PAGE.encode(),
    }
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if name.startswith("bin/") else 0o644
            tar.addfile(info, io.BytesIO(data))
    plain = buffer.getvalue()
    layer = put(gzip.compress(plain, mtime=0), "layer.v1.tar+gzip")
    inside = {
        "Entrypoint": ["/bin/busybox", "httpd", "-f"],
        "Cmd": ["-p", str(INSIDE), "-h", "."],
        "WorkingDir": "/www",
        "User": "www",
        "Env": ["GREETING=hello"],
        "ExposedPorts": {f"{INSIDE}/tcp": {}},
    }
    root = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]}
    document = {"architecture": "amd64", "os": "linux", "config": inside, "rootfs": root}
    config = put(json.dumps(document).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": [layer]}
    listed = put(json.dumps(manifest).encode(), "manifest.v1+json")
    listed["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def broker(work: Path, state: str) -> Iterator[str]:
    """Make a broker and run it; yield its URL."""
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    haulout("broker", "init", "--state", state, "--url", url, cwd=work)
    with (work / f"{state}.log").open("wb") as log:
        argv = [*HAULOUT, "broker", "serve", "--state", state, "--listen", f"127.0.0.1:{port}"]
        process = subprocess.Popen(argv, cwd=work, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 240
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the broker does not start:\n{(work / f'{state}.log').read_text()}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def laboratory(work: Path, guest: Path, say: Callable[[str], None] = print) -> Iterator[Lab]:
    """Build everything and run the brokers; ``guest`` is built where it is not there."""
    if not (guest / "guest.json").exists():
        say("building the guest: Debian's kernel, and an initramfs that attests and unlocks")
        haulout("cw", "guest", guest, cwd=work)
    size = json.loads((guest / "guest.json").read_text())["size"]
    say(f"the guest: an initramfs of {size / 1e6:.1f} MB")
    with ExitStack() as stack:
        url = stack.enter_context(broker(work, "broker"))
        other_url = stack.enter_context(broker(work, "other"))
        say("building a container image, and encrypting it")
        container_image(work / "images", "web")
        options = [
            "--workload-id",
            WORKLOAD,
            "--passphrase-out",
            "key",
            "--broker-key",
            "broker/tls.pem",
            "--cpus",
            "1",
        ]
        built = json.loads(haulout("cw", "build", "oci:images:web", "oci:secret:1", *options, "--json", cwd=work))
        value = built["binding"]["host_data"]
        say(
            f"registering it: its key is for evidence that carries HOST_DATA {value[:16]}… and this guest's measurement"
        )
        command_line = json.loads((guest / "guest.json").read_text())["command_line"]
        boots = ["--boot", guest / "vmlinuz", "--boot", guest / "initramfs", "--command-line", command_line]
        haulout("evidence", "emulate", "snp", "emulator/snp", *boots, "--workload", value, cwd=work)
        haulout("broker", "owner", OWNER, "--state", "broker", "--token-out", "token", cwd=work)
        lab = Lab(
            work,
            guest,
            work / "unpacked",
            (work / "key").read_bytes().strip(),
            url,
            other_url,
            (work / "token").read_text().strip(),
            work / "broker/tls.pem",
            say,
        )
        haulout(
            *(
                "broker",
                "workload",
                "add",
                WORKLOAD,
                "--policy",
                "emulator/snp/policy.toml",
                "--passphrase-file",
                "key",
            ),
            *("--broker", url, "--token-file", "token", "--ca-file", "broker/tls.pem"),
            cwd=work,
        )
        haulout(
            *("cw", "run", "oci:secret:1", "--guest", guest, "--unpack", "unpacked", "--broker-url", url),
            *("--print-arguments", "qemu-snp"),
            cwd=work,
        )
        lab.new_rows()
        yield lab


def as_built(_lab: Lab, _image: Path, _guest: Path) -> list[str]:
    """Change nothing."""
    return []


def other_kernel(_lab: Lab, _image: Path, guest: Path) -> list[str]:
    """Boot a kernel with a byte more: it works as before."""
    with (guest / "vmlinuz").open("ab") as file:
        file.write(b"changed")
    return []


def other_initramfs(_lab: Lab, _image: Path, guest: Path) -> list[str]:
    """Add a file to the initramfs, as an archive behind the first."""
    listed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], input=b"guest.json\n", cwd=guest, capture_output=True, check=True
    )
    with (guest / "initramfs").open("ab") as file:
        file.write(bytes(-file.tell() % 512) + listed.stdout)
    return []


def other_command_line(_lab: Lab, _image: Path, _guest: Path) -> list[str]:
    """Add a word to the kernel's command line."""
    return ["--append", "mitigations=off"]


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def other_header(_lab: Lab, image: Path, _guest: Path) -> list[str]:
    """Change one bit of the LUKS header, in the material of an unused key slot."""
    flip(image / "disk.img", 300_000)
    return []


def other_block(lab: Lab, image: Path, _guest: Path) -> list[str]:
    """Change one bit of the block with the end of the page. With the passphrase, the demo finds it."""
    from haulout.workload import luks  # noqa: PLC0415

    disk = image / "disk.img"
    with disk.open("rb") as file:
        volume = luks.open_volume(file, lab.passphrase)
        start = len(volume.header)
        file.seek(start)
        plain = volume.decrypt(0, file.read(8 << 20))
    flip(disk, start + plain.index(PAGE[-8192:].encode()) + 8000)
    return []


def other_workload(_lab: Lab, image: Path, _guest: Path) -> list[str]:
    """Start the disk as another workload."""
    path = image / "haulout-binding.json"
    path.write_text(path.read_text().replace(f'"workload_id":"{WORKLOAD}"', '"workload_id":"wob"'))
    return []


def other_broker(lab: Lab, _image: Path, _guest: Path) -> list[str]:
    """Send the guest to a broker of the host's own."""
    return ["--broker-url", lab.other_url]


ATTEMPTS = (
    Attempt("as it was built", as_built, broker="allowed"),
    Attempt("another kernel", other_kernel, "broker-refused", "the broker refuses: 401", "measurement"),
    Attempt("another initramfs", other_initramfs, "broker-refused", "the broker refuses: 401", "measurement"),
    Attempt("another command line", other_command_line, "broker-refused", "the broker refuses: 401", "measurement"),
    Attempt(
        "one bit of the LUKS header", other_header, "luks-header", "header of the disk is .* but the binding names"
    ),
    Attempt("one bit of a data block", other_block, "died", r"verity: .*data block \d+ is corrupted", "allowed"),
    Attempt("another workload id", other_workload, "broker-refused", "the broker refuses: 40[13]"),
    Attempt("another broker's URL", other_broker, "broker-key", "does not hold the key"),
)


def attempt(lab: Lab, one: Attempt) -> dict[str, Any]:
    """Boot once, and check how it ends; return the result of ``cw run``, with the page and the broker's rules.

    Raises:
        SystemExit: it ended in another way than it has to.
    """
    with tempfile.TemporaryDirectory(dir=lab.work) as place:
        image, guest = Path(place) / "image", Path(place) / "guest"
        shutil.copytree(lab.image, image)
        shutil.copytree(lab.guest, guest)
        more = one.prepare(lab, image, guest)
        port = free_port()
        argv = [
            *(*HAULOUT, "cw", "run", image, "--guest", guest, "--emulator", lab.work / "emulator", "--json"),
            *("--publish", f"{port}:{INSIDE}", "--broker-url", lab.url, "--time-limit", str(LIMIT), *more),
        ]
        run = subprocess.Popen(
            list(map(str, argv)),
            cwd=lab.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # In the background of a shell it would be ignored, and browse() ends the guest by it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one system call
        )
        pages: list[str] = []
        browser = threading.Thread(target=browse, args=(run, port, pages), kwargs={"stop": one.rule is None})
        browser.start()
        out, console = run.communicate()
        browser.join()
    try:
        result: dict[str, Any] = json.loads(out)
        _ = result["rule"]
    except (ValueError, KeyError):
        raise SystemExit(f"{one.title}: cw run failed:\n{console.decode(errors='replace')[-3000:]}") from None
    rules = [row["rule"] if row["decision"] == "refused" else "allowed" for row in lab.new_rows() if row["decision"]]
    result |= {"page": pages[0] if pages else None, "broker_rules": rules, "console": console.decode(errors="replace")}
    check(one, result)
    return result


def browse(run: subprocess.Popen[bytes], port: int, pages: list[str], *, stop: bool) -> None:
    """Ask for the page until it comes or the guest ends; then, if asked to, end the guest."""
    while run.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                pages.append(answer.read().decode())
        except (OSError, http.client.HTTPException):
            time.sleep(1)
            continue
        if stop:
            # As Ctrl-C does: the result is printed.
            run.send_signal(signal.SIGINT)
        return


def check(one: Attempt, result: dict[str, Any]) -> None:
    """Require that an attempt ended as it has to.

    Raises:
        SystemExit: it did not.
    """
    told = {name: result[name] for name in ("rule", "reason", "steps", "broker_rules")}
    if one.rule is None:
        good = result["page"] == PAGE and result["started"]
    else:
        good = result["rule"] == one.rule and bool(re.search(one.reason, result["reason"])) and result["page"] != PAGE
    if one.broker is not None:
        good = good and one.broker in result["broker_rules"]
    elif one.rule != "broker-refused":
        good = good and not result["broker_rules"]
    if not good:
        raise SystemExit(
            f"{one.title}: it should have ended with {one.rule}, {one.broker}: {told}\n{result['console'][-3000:]}"
        )


def main(keep: Path | None = None) -> None:
    """Do all of it."""
    with tempfile.TemporaryDirectory(prefix="haulout-confidential-") as place:
        work = Path(place)
        with laboratory(work, keep or work / "guest") as lab:
            for one in ATTEMPTS:
                print(f"\n{one.title} …", flush=True)
                result = attempt(lab, one)
                if one.rule is None:
                    print(f"  served its page {result['start_seconds']:.1f} s after the start; the broker: allowed")
                    continue
                print(f"  {'died' if one.rule == 'died' else 'refused'}: {result['reason']}")
                if one.rule == "broker-refused":
                    print(f"  the broker's log: {', '.join(result['broker_rules']) or 'no such workload'}")
    print("\nThe image served its page as it was built, and in no other way.")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
