"""One file of all that a node keeps: whole or refused, readable by its owner alone, and it works afterwards."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import jackfield
from jackfield.backup import (
    BackupInvalidError,
    BackupTargetError,
    BackupUnavailableError,
    PassphraseError,
    RestoreTargetError,
    back_up,
    restore,
)
from jackfield.capabilities import ensure_key_file
from jackfield.db import migrate

PACKAGE = f"store/ab/{'ab' * 32}/package.jfp"
PASSPHRASE = "correct horse battery"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a small database in it."""
    folder = tmp_path / "data"
    ensure_key_file(folder)
    with closing(sqlite3.connect(folder / "jackfield.sqlite3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE jf_schema_version (version_num TEXT)")
        database.execute("INSERT INTO jf_schema_version VALUES (?)", [migrate.head()])
        database.execute("CREATE TABLE pair (a INTEGER, b INTEGER)")
        database.execute("INSERT INTO pair VALUES (0, 0)")
    for name in (PACKAGE, "exports/acme/exp_1.jsonl", "store/incoming/tmp1/spool", "cache/x", "session.key"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(backup: Path) -> set[str]:
    with tarfile.open(backup) as tar:
        return set(tar.getnames())


def test_what_is_needed_comes_back_and_nothing_else(data: Path, tmp_path: Path) -> None:
    done = back_up(data, tmp_path / "b")
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert names(done.path) == {PACKAGE, "exports/acme/exp_1.jsonl", "secret.key", "jackfield.sqlite3", "backup.json"}
    restore(done.path, tmp_path / "again")
    for name in (PACKAGE, "secret.key", "exports/acme/exp_1.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (data / name).read_bytes()
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "again/secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "again" / PACKAGE).parent.stat().st_mode) == 0o555
    assert {path.name for path in tmp_path.iterdir()} == {"data", "b", "again"}, "nothing is left lying about"


def test_a_database_that_is_being_written_is_copied_as_of_one_moment(data: Path, tmp_path: Path) -> None:
    is_over, has_begun = threading.Event(), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(data / "jackfield.sqlite3", isolation_level=None, timeout=30)) as database:
            while not is_over.is_set():
                database.execute("BEGIN IMMEDIATE")
                database.execute("UPDATE pair SET a = a + 1")
                database.execute("UPDATE pair SET b = b + 1")
                database.execute("COMMIT")
                has_begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert has_begun.wait(10)
        for n in range(5):
            restore(back_up(data, tmp_path / f"b{n}").path, tmp_path / f"r{n}")
            with closing(sqlite3.connect(tmp_path / f"r{n}" / "jackfield.sqlite3")) as database:
                ((a, b),) = database.execute("SELECT a, b FROM pair").fetchall()
            assert a == b > 0
    finally:
        is_over.set()
        writer.join()


def test_keys_are_left_out_or_locked_when_that_is_wanted(data: Path, tmp_path: Path) -> None:
    keys = (data / "secret.key").read_bytes()
    back_up(data, tmp_path / "without", with_keys=False)
    back_up(data, tmp_path / "locked", passphrase=PASSPHRASE)
    assert keys not in (tmp_path / "without").read_bytes() + (tmp_path / "locked").read_bytes()
    assert not restore(tmp_path / "without", tmp_path / "r1").has_keys
    for wrong in (None, "another passphrase"):
        with pytest.raises(PassphraseError):
            restore(tmp_path / "locked", tmp_path / "r2", passphrase=wrong)
    assert not (tmp_path / "r2").exists()
    restore(tmp_path / "locked", tmp_path / "r2", passphrase=PASSPHRASE)
    assert (tmp_path / "r2/secret.key").read_bytes() == keys
    with pytest.raises(PassphraseError):
        back_up(data, tmp_path / "short", passphrase="short")
    assert not (tmp_path / "short").exists()


def test_nothing_is_ever_overwritten(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "b")
    with pytest.raises(BackupTargetError):
        back_up(data, tmp_path / "b")
    with pytest.raises(BackupTargetError):
        back_up(data, data / "b")
    with pytest.raises(BackupUnavailableError):
        back_up(tmp_path / "no", tmp_path / "c")
    with pytest.raises(RestoreTargetError):
        restore(tmp_path / "b", data)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RestoreTargetError):
        restore(tmp_path / "b", tmp_path / "link")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "b", tmp_path / "empty")


def test_a_damaged_backup_is_refused_wherever_the_damage_is(data: Path, tmp_path: Path) -> None:
    whole = back_up(data, tmp_path / "b").path.read_bytes()
    end = whole.rindex(b"}") + 1
    for number, place in enumerate(range(0, end, max(1, end // 24))):
        flipped = bytearray(whole)
        flipped[place] ^= 0x41
        for kind, content in (("flipped", bytes(flipped)), ("cut", whole[:place])):
            path = tmp_path / f"{kind}{number}"
            path.write_bytes(content)
            target = tmp_path / f"r-{kind}{number}"
            try:
                restore(path, target)
            except BackupInvalidError:
                assert not target.exists()
            else:
                # What no digest covers is of no consequence: fill bytes between the files.
                assert kind == "flipped"
                assert (target / "jackfield.sqlite3").read_bytes() in whole


def _made(path: Path, files: list[tuple[tarfile.TarInfo, bytes]], **changes: object) -> Path:
    """A backup that somebody else has made, with a true list."""
    listed = {
        info.name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "mode": 0o600}
        for info, content in files
    }
    told = {
        "format": 1, "version": jackfield.__version__, "revision": None, "keys": "none", "made_at": "x",
        "members": listed, **changes,
    }  # fmt: skip
    content = msgspec.json.encode(told)
    with tarfile.open(path, "w") as tar:
        for info, data in [*files, (tarfile.TarInfo("backup.json"), content)]:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def _link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "info",
    [
        tarfile.TarInfo("../evil"),
        tarfile.TarInfo("/tmp/evil"),
        tarfile.TarInfo("exports/../../evil.jsonl"),
        tarfile.TarInfo("exports/.x/evil.jsonl"),
        tarfile.TarInfo("sitecustomize.py"),
        tarfile.TarInfo(f"store/ab/{'ab' * 32}/../evil"),
        _link("exports/acme", "/etc", tarfile.SYMTYPE),
        _link("secret.key", "/etc/passwd", tarfile.LNKTYPE),
        _link("jackfield.sqlite3", "", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type!r}",
)
def test_a_backup_of_an_attacker_writes_nothing_beside_the_folder(info: tarfile.TarInfo, tmp_path: Path) -> None:
    path = _made(tmp_path / "b", [(info, b"evil")])
    with pytest.raises(BackupInvalidError):
        restore(path, tmp_path / "r")
    assert {entry.name for entry in tmp_path.iterdir()} == {"b"}


@pytest.mark.parametrize(
    "changes", [{"format": 2}, {"revision": "ffffffffffff"}, {"members": {}}, {"revision": 5}], ids=str
)
def test_a_backup_of_another_version_or_with_another_list_is_refused(
    changes: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(BackupInvalidError):
        restore(_made(tmp_path / "b", [(tarfile.TarInfo("jackfield.sqlite3"), b"x")], **changes), tmp_path / "r")
    assert {entry.name for entry in tmp_path.iterdir()} == {"b"}
