"""Key-encryption keys: what they seal, where they are kept, and how they are rotated."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.brokers import keyring

from haulout.broker.stores import FileKeyring, InvalidKeyring, Keyring, SealError, add_key, keep_keys
from haulout.broker.stores.keyring import Sealed, rewrap, seal, unseal

ONE = base64.b64encode(bytes(range(32))).decode()
TWO = base64.b64encode(bytes(32)).decode()


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place_only(secret, where):
    sealed = seal(keyring(), secret, where)
    assert unseal(keyring(), sealed, where) == secret
    with pytest.raises(SealError):
        unseal(keyring(), sealed, where + "!")


def test_whatever_is_changed_does_not_open():
    sealed = seal(keyring(), b"secret", "here")
    assert b"secret" not in sealed.data
    for changed in (
        sealed._replace(data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])),
        sealed._replace(wrapped=sealed.wrapped[:-1]),
        sealed._replace(kek="kek-2"),
        sealed._replace(data=b""),
        Sealed("kek-1", b"", b""),
    ):
        with pytest.raises(SealError):
            unseal(keyring(), changed, "here")


def test_another_key_of_the_same_name_does_not_open():
    sealed = seal(keyring(), b"secret", "here")
    with pytest.raises(SealError):
        unseal(Keyring({"kek-1": bytes(32)}), sealed, "here")


def test_rewrapping_needs_no_secret_and_changes_the_key():
    both = Keyring({"kek-2": bytes(32), "kek-1": bytes(range(32))})
    sealed = rewrap(both, seal(keyring(), b"secret", "here"), "here")
    assert sealed.kek == "kek-2"
    assert unseal(Keyring({"kek-2": bytes(32)}), sealed, "here") == b"secret"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "kek-1",
        f"kek-1 {ONE}\nkek-1 {TWO}",
        f"k/1 {ONE}",
        "kek-1 AAAA",
        f" {ONE}",
        f"kek-1 {ONE[:-1]}",
        "\0\xff",
    ],
)
def test_files_that_are_no_keyring(text):
    with pytest.raises(InvalidKeyring) as found:
        Keyring.parse(text.encode("latin-1"), "keys")
    assert ONE not in str(found.value)


def test_keys_are_not_shown():
    assert "\\x" not in repr(keyring())
    assert ONE not in repr(keyring())


def test_a_file_of_keys_is_for_its_owner_and_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "keys"
    add_key(path, "first")
    assert path.stat().st_mode & 0o777 == 0o600
    keys = FileKeyring(path)
    sealed = seal(keys, b"secret", "here")
    add_key(path, "second")
    assert keys.current == "second"
    assert unseal(keys, sealed, "here") == b"secret"
    assert seal(keys, b"other", "here").kek == "second"
    with pytest.raises(InvalidKeyring):
        add_key(path, "second")
    assert keep_keys(path, {"second"}) == 1
    assert keep_keys(path, set()) == 0  # the first one stays
    with pytest.raises(SealError, match="not at hand"):
        unseal(FileKeyring(path), sealed, "here")


def test_a_key_put_into_the_file_by_hand_is_found_when_it_is_needed(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"a {ONE}\n")
    keys = FileKeyring(path)
    sealed = seal(Keyring({"b": bytes(32)}), b"secret", "here")
    path.write_text(f"# comment\n\na {ONE}\nb {TWO}\n")
    os.utime(path, ns=(1, 1))
    assert unseal(keys, sealed, "here") == b"secret"
    assert keys.current == "a"
