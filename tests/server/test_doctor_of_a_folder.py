"""`doctor --data DIR` looks at a node's folder: its disk, its keys, its database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from jackfield import __main__


def _findings(folder: Path) -> dict[str, tuple[bool, str]]:
    found = [*__main__._examine_folder(folder), *asyncio.run(__main__._examine_database(folder))]  # pyright: ignore[reportPrivateUsage]  # the self-attack beside it takes seconds
    return {finding.name: (finding.is_good, finding.says) for finding in found}


def test_a_folder_is_looked_at_and_what_is_wrong_with_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JACKFIELD_DATABASE_URL", "JACKFIELD_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert _findings(tmp_path / "nowhere") == {"folder": (False, "there is no such data folder")}
    bare = _findings(tmp_path)
    assert bare.keys() == {"disk", "keys"}
    assert not bare["keys"][0]
    assert "secret-key-missing" in bare["keys"][1]

    assert __main__.main(["token", "operator", "--data", str(tmp_path)]) == 0  # makes the key and the tables
    whole = _findings(tmp_path)
    assert {"disk", "keys", "schema is up to date", "retention"} <= whole.keys()
    assert [name for name, (is_good, _) in whole.items() if not is_good and name != "disk"] == []

    full = shutil._ntuple_diskusage(100 * 10**9, 99 * 10**9, 10**9)  # type: ignore[attr-defined]  # what it returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    assert _findings(tmp_path)["disk"] == (False, "1.0 of 100.0 GB are free")
