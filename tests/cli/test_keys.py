"""Signing keys are made once, kept for their owner alone, and prove that they are held."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jackfield_cli import keys
from jackfield_cli.keys import KeyFileError
from jackfield_sdk.package import key_id_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JACKFIELD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_first_use_makes_the_default_key_and_later_uses_find_it(home: Path) -> None:
    first = keys.default_key()
    assert keys.default_key().key_id == first.key_id
    assert keys.list_keys() == [first.key_id]
    assert (home / "keys" / f"{first.key_id}.pem").is_file()


def test_a_key_file_is_its_owners_alone(home: Path) -> None:
    path = home / "keys" / f"{keys.default_key().key_id}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted([path.name, "default"])


def test_a_key_that_others_can_read_is_not_used(home: Path) -> None:
    key = keys.default_key()
    (home / "keys" / f"{key.key_id}.pem").chmod(0o644)
    with pytest.raises(KeyFileError) as caught:
        keys.default_key()
    assert caught.value.code == "key-exposed"


def test_an_id_is_the_hash_of_the_public_key() -> None:
    assert key_id_of(bytes(32)) == "66687aadf862bd77"


def test_a_second_key_leaves_the_default_as_it_is(home: Path) -> None:
    first, second = keys.default_key(), keys.create_key()
    assert keys.default_key().key_id == first.key_id
    assert keys.load_key(second.key_id).public == second.public
    assert keys.list_keys() == sorted([first.key_id, second.key_id])


def test_a_signature_and_a_proof_are_verified_by_the_public_key(home: Path) -> None:
    key = keys.default_key()
    public = Ed25519PublicKey.from_public_bytes(key.public)
    public.verify(key.sign(b"message"), b"message")
    public.verify(key.proof("pub_1"), b"jackfield-key-v1\npub_1")


@pytest.mark.parametrize(
    "key_id", ["../../etc/passwd", "", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_what_is_no_key_id_is_not_looked_for(home: Path, key_id: str) -> None:
    with pytest.raises(KeyFileError, match="not a key id"):
        keys.load_key(key_id)


def test_a_missing_a_damaged_and_a_renamed_key_are_told_apart(home: Path) -> None:
    key = keys.default_key()
    folder = home / "keys"
    with pytest.raises(KeyFileError) as caught:
        keys.load_key("0123456789abcdef")
    assert caught.value.code == "key-missing"

    (folder / "0123456789abcdef.pem").write_bytes((folder / f"{key.key_id}.pem").read_bytes())
    (folder / "0123456789abcdef.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match="holds the key"):
        keys.load_key("0123456789abcdef")

    (folder / f"{key.key_id}.pem").write_text("nothing of use")
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.load_key(key.key_id)


def test_two_first_uses_at_the_same_time_agree_on_one_key(home: Path) -> None:
    barrier, found = threading.Barrier(4), list[str]()

    def use() -> None:
        barrier.wait(10)
        found.append(keys.default_key().key_id)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 4
    assert set(found) == {keys.default_key().key_id}
    assert keys.list_keys() == [found[0]]


def test_keys_lie_in_the_users_configuration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JACKFIELD_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys.keys_folder() == tmp_path / "jackfield" / "keys"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keys.keys_folder() == tmp_path / ".config" / "jackfield" / "keys"
