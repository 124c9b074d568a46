"""The page about the host's data says what is so: its code runs."""

from __future__ import annotations

import re
from typing import Any

from jackfield.data_adapters import SqlAdapter
from jackfield.db import Database
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "explanation" / "data.md").read_text(encoding="utf-8")


def test_its_code_runs() -> None:
    surface, plugin = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(surface, "data.md", "exec", dont_inherit=True), scope)
    adapter = SqlAdapter(Database("sqlite+aiosqlite:///:memory:"), scope["surface"])
    assert adapter.schema("customers").version_field == "version"
    assert {field.name: field.references for field in adapter.schema("visits").fields}["customer_id"] == "customers"
    scope = {"__name__": "page"}
    exec(compile(plugin, "data.md", "exec", dont_inherit=True), scope)
