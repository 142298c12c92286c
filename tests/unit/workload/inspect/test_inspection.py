"""Images and disks of confidential workloads that somebody tampered with: each broken rule by its name (case 43)."""

from __future__ import annotations

import io
import json
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.workloads import (
    CREATED,
    PASSPHRASE,
    body,
    build,
    config,
    image,
    inspected,
    parts,
    rewritten,
    root_folder,
    rules,
    stored,
    the_binding,
    unpacked,
    with_footer,
    with_hashes,
)

from haulout.content.memory import MemoryStore
from haulout.errors import ContentError, InvalidWorkload, WrongPassphrase
from haulout.oci import Descriptor, Manifest, mediatype
from haulout.oci import annotations as keys
from haulout.progress import NullProgress
from haulout.workload import binding as bindings
from haulout.workload import krun, outer
from haulout.workload.ext4 import reader
from haulout.workload.inspect import inspection

DISK, CONFIG, BINDING = krun.DISK_NAME, krun.CONFIG_NAME, bindings.NAME
LUKS2 = b"LUKS\xba\xbe\x00\x02"


def disk(data):
    return {**parts(), DISK: data}


def patched(offset, data):
    found = bytearray(parts()[DISK])
    found[offset : offset + len(data)] = data
    return disk(bytes(found))


def test_what_was_built_breaks_no_rule_and_opens():
    found = inspected(parts(), PASSPHRASE)
    assert rules(found) == []
    assert found.unlocked is not None
    assert (found.unlocked.verity, found.unlocked.architecture) == ("verified", "amd64")
    assert found.binding == the_binding()
    assert found.outer is not None
    assert found.outer.leaks == ()


def test_another_passphrase_does_not_open_it():
    with pytest.raises(WrongPassphrase):
        inspected(parts(), b"another")


CIPHER, MODE, VERSION, SLOT_0 = 8, 40, 6, 208


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (lambda: patched(CIPHER, b"cipher_null".ljust(32, b"\0")), "luks-cipher"),
        (lambda: patched(MODE, b"ecb".ljust(32, b"\0")), "luks-cipher"),
        (lambda: patched(MODE, b"cbc-essiv:sha256".ljust(32, b"\0")), "luks-cipher"),
        (lambda: patched(0, LUKS2), "luks-version"),
        (lambda: patched(0x4000, b"SKUL\xba\xbe\x00\x02"), "luks-second-header"),
        (lambda: patched(0, b"NOTLUKS"), "luks-missing"),
        (lambda: disk(parts()[DISK][-8192:]), "luks-missing"),
    ],
    ids=["null", "ecb", "cbc", "luks2", "second-header", "none", "cut"],
)
def test_headers_that_are_refused(files, wanted):
    assert wanted in rules(inspected(files(), PASSPHRASE))


def test_a_changed_header_is_not_the_one_of_the_binding():
    # A salt of a slot not in use: the disk still opens, and an attacker may have put another key there.
    found = inspected(patched(SLOT_0 + 48 + 8, b"\1" * 32), PASSPHRASE)
    assert rules(found) == ["binding-header"]
    assert found.unlocked is not None


def test_a_rolled_back_disk_is_not_the_one_of_the_binding(tmp_path):
    # An older build of the same workload, by the same owner, with the same passphrase, is put into the image.
    store = MemoryStore()
    older = unpacked(store, build(store, root_folder(tmp_path / "older")))
    found = inspected(disk(older[DISK]), PASSPHRASE)
    assert "binding-header" in rules(found)
    assert found.unlocked is not None
    assert found.unlocked.verity == "failed"


def test_a_rolled_back_block_fails_even_under_the_same_header():
    def change(plain):
        position = plain.index(b"hello from inside")
        plain[position : position + 5] = b"HELLO"

    found = inspected(disk(rewritten(parts()[DISK], change)), PASSPHRASE)
    assert rules(found) == ["verity-block"]


def test_hashes_made_anew_for_changed_blocks_do_not_fit_the_root():
    binding = the_binding()

    def change(plain):
        position = plain.index(b"hello from inside")
        plain[position : position + 5] = b"HELLO"
        image, _ = with_hashes(plain[: binding.hash_offset], binding.salt)
        plain[: len(image)] = image

    assert rules(inspected(disk(rewritten(parts()[DISK], change)), PASSPHRASE)) == ["verity-block"]


@pytest.mark.parametrize("where", [0, 1 << 20, -4096])
def test_every_changed_block_of_ciphertext_is_found(where):
    data = bytearray(parts()[DISK])
    start = 2_068_480 + (where if where >= 0 else the_binding().hash_offset + where)
    data[start] ^= 1
    assert "verity-block" in rules(inspected(disk(bytes(data)), PASSPHRASE))


def footers():
    own, document = parts()[DISK], config().to_bytes()
    bare = body(own).rstrip(b"\0")
    huge = b'{"a":"' + b" " * (1 << 20) + b'"}'
    second = own + bytes(krun.padding(len(own), document)) + krun.footer(document)
    far = own + bytes(8192) + bytes(krun.padding(len(own), document)) + krun.footer(document)
    return {
        "magic": (own[:-12] + b"KRUM" + own[-8:], ["footer-magic"]),
        "cut": (own[:-4096], ["footer-magic"]),
        "overflow": (own[:-8] + b"\xff" * 8, ["footer-size"]),
        "longer-than-the-disk": (own[:-8] + struct.pack("<Q", len(own)), ["footer-size"]),
        "above-1-mib": (own[:-8] + struct.pack("<Q", (1 << 20) + 1), ["json-size"]),
        "real-json-above-1-mib": (bare + huge + b"KRUN" + struct.pack("<Q", len(huge)), ["disk-size", "json-size"]),
        "two": (second, ["footer-twice"]),
        "two-far-apart": (far, ["footer-padding"]),
        "unknown-tee": (with_footer(own, document.replace(b'"snp"', b'"sgx"')), ["tee", "json-differs"]),
        "no-json": (with_footer(own, b"{" * 40), ["json", "json-differs"]),
        "duplicate-keys": (with_footer(own, b'{"tee":"snp","tee":"sev"}'), ["json", "json-differs"]),
        "odd-size": (own + bytes(100), ["disk-size", "footer-magic"]),
        "empty": (b"", ["footer-magic", "luks-missing"]),
        "another-url": (with_footer(own, config(attestation_url="http://evil").to_bytes()), ["json-differs"]),
        "another-workload": (with_footer(own, config(workload_id="w2").to_bytes()), ["json-differs"]),
    }


@pytest.mark.parametrize("name", footers())
def test_footers_that_are_wrong_are_one_line_each(name):
    data, wanted = footers()[name]
    found = inspected(disk(data))
    assert rules(found) == wanted
    assert all("\n" not in one.reason and len(one.reason) < 200 for one in found.broken)


def test_the_json_beside_the_disk_counts_as_well():
    found = inspected({**parts(), CONFIG: config(workload_id="w2").to_bytes()})
    assert rules(found) == ["json-differs", "binding-workload"]
    assert rules(inspected({**parts(), CONFIG: b'{"tee":"nonsense"}'})) == ["tee", "json-differs"]
    assert rules(inspected({name: data for name, data in parts().items() if name != CONFIG})) == ["json-missing"]
    assert rules(inspected({name: data for name, data in parts().items() if name != DISK})) == ["disk-missing"]


def test_the_binding_beside_the_disk_and_in_the_annotation_have_to_be_one():
    own = the_binding()
    other = bindings.Binding("web", own.luks_header, bytes(32), own.salt, own.hash_offset)
    files = {**parts(), BINDING: other.to_bytes()}
    found = inspected(files, PASSPHRASE, annotations={keys.WORKLOAD: own.to_bytes().decode()})
    assert rules(found) == ["binding-differs", "verity-block"]
    assert rules(inspected({**parts(), BINDING: b"{}"})) == ["binding"]


def test_without_its_binding_a_disk_is_told_to_be_unbound():
    found = inspected({name: data for name, data in parts().items() if name != BINDING}, PASSPHRASE)
    assert rules(found) == []
    assert found.binding is None
    assert found.unlocked is not None
    assert found.unlocked.verity == "unbound"


def test_a_disk_alone_is_inspected_too(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(parts()[DISK])
    found = inspection.inspect_disk(path, PASSPHRASE, NullProgress())
    assert rules(found) == []
    assert found.config == config()


@pytest.mark.parametrize("data", [b"", b"root:x:0:0::/root:/bin/sh\n", bytes(8192)])
def test_a_file_that_is_no_such_disk_is_refused_and_not_explained(tmp_path, data):
    path = tmp_path / "passwd"
    path.write_bytes(data)
    with pytest.raises(ContentError, match="neither a LUKS header nor a footer"):
        inspection.inspect_disk(path, None, NullProgress())


def test_what_the_outer_configuration_leaks_is_named():
    outer_config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["SECRET=x", "A=b"], "Labels": {"inner": "yes"}, "Entrypoint": ["/entrypoint"]},
            "history": [{"created_by": ': convert "0bbd" for use with "snp"'}],
        }
    ).encode()
    found = inspected(parts(), outer_config=outer_config)
    assert found.outer is not None
    assert found.outer.leaks == ("Env (2)", "Labels (1)", "history (1)")


def test_another_image_is_said_to_be_none():
    with pytest.raises(ContentError, match="is not a confidential image"):
        inspected({"bin/sh": b"x"})


def test_the_inner_configuration_has_to_be_there(tmp_path):
    # The name of the file is changed in the directory, as whoever has the passphrase might.
    def change(plain):
        position = plain.index(b".krun_config.json")
        plain[position] = ord("_")

    assert "inner-config" in rules(inspected(disk(rewritten(parts()[DISK], change)), PASSPHRASE))


def test_the_outer_image_says_nothing_of_the_inner(tmp_path):
    store = MemoryStore()
    built = build(store, root_folder(tmp_path / "root"))
    manifest = store.manifest("1").parse("it")
    assert isinstance(manifest, Manifest)
    with store.open_blob(manifest.config) as stream:
        data = stream.read(manifest.config.size)
    assert json.loads(data) == {
        "created": "2023-11-14T22:13:20Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/entrypoint"]},
        "rootfs": {"type": "layers", "diff_ids": [str(built.layer.digest)]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "haulout cw build for snp"}],
    }
    assert set(manifest.annotations) == {keys.WORKLOAD}
    for secret in (b"hello from inside", b"motd", PASSPHRASE):
        with store.open_blob(built.layer) as stream:
            assert secret not in stream.read(built.layer.size)


def test_the_outer_configuration_follows_from_time_and_layer_alone():
    layer = Descriptor.of(mediatype.OCTETS, b"x")
    assert outer.config("arm64", layer, "cca", CREATED) == outer.config("arm64", layer, "cca", CREATED)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=3000), st.integers(0, 4095))
def test_disks_of_strangers_raise_nothing_undeclared(data, cut):
    own = parts()[DISK]
    for candidate in (data, own[: 8192 + cut] + data, own[:592] + data, data + own[-4096:]):
        inspected(disk(candidate))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 12 << 20), st.binary(min_size=1, max_size=64))
def test_plain_contents_of_strangers_raise_nothing_undeclared(position, data):
    # Whoever has the passphrase writes what they like: superblock, inodes, directories, hashes.
    def change(plain):
        start = position % max(1, len(plain) - 64)
        plain[start : start + len(data)] = data
        plain[1024 + position % 1024] ^= 0xFF

    inspected(disk(rewritten(parts()[DISK], change)), PASSPHRASE)


def small_ext4(root_extents, *, table=4, files=()):
    """A file system of 64 blocks whose root directory has these extents; ``files`` are further blocks."""
    plain = bytearray(64 * 4096)
    struct.pack_into("<I", plain, 1024 + 4, 64)
    struct.pack_into("<II", plain, 1024 + 20, 0, 2)
    struct.pack_into("<I", plain, 1024 + 40, 32)
    plain[1024 + 56 : 1024 + 58] = b"\x53\xef"
    struct.pack_into("<HI", plain, 1024 + 88, 256, 0)
    struct.pack_into("<I", plain, 1024 + 96, 0x80)
    struct.pack_into("<H", plain, 1024 + 0xFE, 64)
    struct.pack_into("<I", plain, 4096 + 8, table & 0xFFFFFFFF)
    struct.pack_into("<I", plain, 4096 + 0x28, table >> 32)
    inode = 4 * 4096 + 256
    struct.pack_into("<HHI", plain, inode, 0o40755, 0, 64 << 20)
    struct.pack_into("<I", plain, inode + 32, 0x80000)
    plain[inode + 40 : inode + 40 + len(root_extents)] = root_extents
    for number, block in files:
        plain[number * 4096 : number * 4096 + len(block)] = block
    return io.BufferedReader(io.BytesIO(plain))


def extents(depth, *entries):
    return struct.pack("<HHHHI", 0xF30A, len(entries), 340, depth, 0) + b"".join(entries)


def below(block, logical=0):
    return struct.pack("<IIHH", logical, block & 0xFFFFFFFF, block >> 32, 0)


def leaf(logical, length, block):
    return struct.pack("<IHHI", logical, length, block >> 32, block & 0xFFFFFFFF)


HOSTILE_EXT4 = {
    # 4 * 340^4 nodes, if each of them was read: years.
    "a tree that fans out": small_ext4(
        extents(5, *[below(10)] * 4),
        files=[(10 + up, extents(4 - up, *[below(11 + up)] * 340)) for up in range(4)]
        + [(14, extents(0, *[leaf(0, 1, 9)] * 340))],
    ),
    "one block again and again": small_ext4(
        extents(1, *[below(10)] * 4), files=[(10, extents(0, *[leaf(0, 8, 20)] * 340))]
    ),
    "extents that go backwards": small_ext4(extents(0, leaf(9, 1, 9), leaf(0, 1, 9))),
    "inodes beyond any file": small_ext4(b"", table=1 << 63),
}


@pytest.mark.parametrize("name", HOSTILE_EXT4)
@pytest.mark.timeout(20)
def test_a_file_system_made_to_hurt_is_refused_at_once(name):
    file = HOSTILE_EXT4[name]
    with pytest.raises(InvalidWorkload, match=r"its extents|beyond its end"):
        reader.read_file(file, reader.read_superblock(file), "x")


def test_an_index_is_followed_to_its_image():
    store = image(parts())
    manifest = store.manifest("1").descriptor
    from haulout.oci import Index, Platform

    entry = Descriptor(
        manifest.media_type,
        manifest.digest,
        manifest.size,
        platform=Platform("amd64", "linux"),
    )
    index = Index((entry,))
    store.push_manifest(index.to_bytes(), index.media_type, "all")
    assert rules(inspection.inspect_image(stored(store, "oci:it:all"), None, NullProgress())) == []


def test_reading_an_archive_of_a_disk_needs_no_memory_for_it():
    ends = inspection._Ends(40 << 20)
    for number in range(40):
        ends.append(memoryview(bytes([number]) * (1 << 20)))
    assert ends.read(3) == b"\0\0\0"
    ends.seek(-2, io.SEEK_END)
    assert ends.read(10) == b"\x27\x27"
    assert len(ends._head) + len(ends._tail) < 24 << 20
