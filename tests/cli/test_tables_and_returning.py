"""`jackfield tables`, `export`, `history` and `rollback`, against a server that runs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ran

SOURCE = """
import jackfield_sdk as jf

plugin = jf.Plugin("guests", version="VERSION")


@plugin.table("guests")
class Guest:
    COLUMN: str


@plugin.function()
def add(ctx: jf.Context, name: str) -> str:
    return ctx.tables["guests"].insert(COLUMN=name)["id"]
"""
MIGRATION = """

@plugin.migration(to="2.0.0")
def rename(ctx: jf.Context) -> None:
    ctx.migration.each("guests", lambda row: {"title": row["name"]}, drop=["name"])
"""


@pytest.fixture
def guests(owner: Callable[..., Ran], publisher: Callable[..., Ran], tmp_path: Path) -> str:
    """Installed as 1.0.0, with two rows; 2.0.0 is there too."""
    for version, column, more in (("1.0.0", "name", ""), ("2.0.0", "title", MIGRATION)):
        project = tmp_path / version
        project.mkdir()
        source = SOURCE.replace("VERSION", version).replace("COLUMN", column) + more
        (project / "plugin.py").write_text(source)
        (project / "pyproject.toml").write_text(f'[project]\nname = "guests"\nversion = "{version}"\n')
        package = tmp_path / f"{version}.jfp"
        assert publisher("pack", str(project), "-o", str(package)).status == 0
        assert publisher("publish", str(package)).status == 0
    assert owner("install", "guests", "--version", "1.0.0", "--yes").status == 0
    for name in ("Ada", "=1+1"):
        assert owner("call", "guests", "add", f'{{"name": "{name}"}}').status == 0
    return "guests"


def test_a_table_goes_home_and_a_release_comes_back(owner: Callable[..., Ran], guests: str, tmp_path: Path) -> None:
    shown = owner("tables", guests)
    assert "guests" in shown.out
    sheet = tmp_path / "guests.csv"
    saved = owner("export", guests, "guests", "--format", "csv", "-o", str(sheet), "--json")
    assert (saved.status, saved.json["bytes"]) == (0, sheet.stat().st_size)
    _, *rows = list(csv.reader(sheet.read_text().splitlines()))
    assert sorted(name for _, name in rows) == ["'=1+1", "Ada"]
    assert not (tmp_path / "guests.csv.part").exists()

    assert "only one" in owner("history", guests).out
    assert owner("update", guests, "--yes").status == 0
    assert owner("call", guests, "add", '{"name": "Grace"}').status == 0
    assert "1 migration over 2 rows" in owner("history", guests, "--json").out
    unasked = owner("rollback", guests)
    assert (unasked.status, "confirmation-missing" in unasked.err) == (1, True)
    since = tmp_path / "since.jsonl"
    back = owner("rollback", guests, "--yes", "-o", str(since), "--json")
    assert (back.status, back.json["version"], back.json["data"]) == (0, "1.0.0", "restored")
    assert "Grace" in since.read_text()
    assert owner("export", guests, "guests", "-o", str(sheet)).status == 0
    assert len(sheet.read_text().splitlines()) == 2
    again = owner("rollback", guests, "--yes")
    assert (again.status, "no-way-back" in again.err) == (1, True)
    assert owner("export", guests, "nothing", "-o", str(sheet)).status == 1
    assert len(sheet.read_text().splitlines()) == 2, "what was there is not lost to a refusal"
    assert owner("uninstall", guests, "--yes").status == 0
