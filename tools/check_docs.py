"""Checks the documentation: every relative link leads somewhere, and every page can be reached from the index.

Run by `make check` as a program, and by the tests as a function.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.committed import ROOT, committed_files

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def pages(root: Path) -> list[Path]:
    """Every Markdown file of the project."""
    return committed_files(root, "*.md")


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    """The page's links to files, resolved, each with its fragment."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        yield ((page.parent / name).resolve() if name else page), fragment


def _anchors(page: Path) -> set[str]:
    """The fragments that a page's headings answer to, by the rule of the common code hosts."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


def problems(root: Path = ROOT) -> list[str]:
    """One line for each link that leads nowhere and each page below docs/ that cannot be reached from the index."""
    found: list[str] = []
    leads_to: dict[Path, set[Path]] = {}
    for page in pages(root):
        name = page.relative_to(root)
        leads_to[page] = set()
        for target, fragment in _links(page):
            leads_to[page].add(target)
            if not target.exists():
                found.append(f"{name}: link to {os.path.relpath(target, root)} leads nowhere")
            elif fragment and target.suffix == ".md" and fragment not in _anchors(target):
                found.append(f"{name}: {target.name} has no heading #{fragment}")
    docs = root / "docs"
    reached = {docs / "README.md"}
    ahead = list(reached)
    while ahead:
        further = leads_to.get(ahead.pop(), set()) - reached
        reached |= further
        ahead += further
    lost = [page for page in leads_to if page.is_relative_to(docs) and page not in reached]
    return found + [f"{page.relative_to(root)}: docs/README.md does not lead here" for page in lost]


def main() -> int:
    found = problems()
    for line in found:
        print(line)
    print(f"docs: {len(pages(ROOT))} pages, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
