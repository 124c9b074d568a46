"""The reference says what the source says."""

from __future__ import annotations

from pathlib import Path

import pytest

import jackfield_sdk as jf
from tools import build_reference


def test_the_page_is_what_would_be_written_now() -> None:
    assert build_reference.main(["--check"]) == 0


def test_an_old_page_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = tmp_path / "sdk.md", tmp_path / "hooks.md"
    assert build_reference.main(["--check"], *pages) == 1
    assert "tools.build_reference" in capsys.readouterr().out
    assert build_reference.main([], *pages) == 0
    assert build_reference.main(["--check"], *pages) == 0


def test_it_tells_of_every_decorator_and_public_name() -> None:
    page = build_reference.page()
    told = [f"`plugin.{name}`" for name in ("filter", "on", "function", "route", "widget", "table", "config", "health")]
    told += [
        f"jf.ui.{name}" for name in jf.ui.__all__ if name[0].isupper() and not name.isupper() and "MAX" not in name
    ]
    hidden = {"jf.ui.Node", "jf.ui.Tone", "jf.ui.Value", "jf.ui.Cells"}
    assert [name for name in told if name not in page and name not in hidden] == []
