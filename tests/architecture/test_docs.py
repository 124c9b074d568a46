"""The documentation holds together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_docs


def test_every_link_leads_somewhere_and_every_page_is_reached() -> None:
    assert check_docs.problems() == []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# Index\n")
    monkeypatch.setattr(check_docs, "pages", lambda root: sorted(root.rglob("*.md")))
    return tmp_path


@pytest.mark.parametrize("link", ["gone.md", "README.md#gone", "../gone/"])
def test_a_link_that_leads_nowhere_is_told(site: Path, link: str) -> None:
    (site / "docs" / "README.md").write_text(f"# Index\n\n[there]({link})\n")
    assert len(check_docs.problems(site)) == 1


def test_pages_that_the_index_does_not_lead_to_are_told(site: Path) -> None:
    (site / "docs" / "one.md").write_text("# One\n\n[two](two.md)\n")
    (site / "docs" / "two.md").write_text("# Two\n\n[one](one.md)\n")
    assert check_docs.problems(site) == [
        "docs/one.md: docs/README.md does not lead here",
        "docs/two.md: docs/README.md does not lead here",
    ]


def test_links_in_code_are_not_links(site: Path) -> None:
    (site / "docs" / "README.md").write_text("# Index\n\n`[a](b.md)`\n\n```text\n[a](b.md)\n```\n")
    assert check_docs.problems(site) == []
