"""The folder table in ARCHITECTURE.md is the folders."""

from __future__ import annotations

import re

from tests.architecture.house import SOURCES, code_folders
from tools.committed import ROOT, committed_files

ROW = re.compile(r"^\| `([\w./-]+/)` \|", re.MULTILINE)


def test_the_folder_table_equals_reality() -> None:
    drawn = ROW.findall((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    tops = {path.relative_to(ROOT).parts[0] + "/" for path in committed_files() if path.parent != ROOT}
    packages = {f"{path.relative_to(ROOT)}/" for path in SOURCES.values()}
    folders = {f"{name}/{folder.name}/" for name, path in SOURCES.items() for folder in code_folders(path)}

    assert len(drawn) == len(set(drawn))
    assert set(drawn) == tops | packages | folders
