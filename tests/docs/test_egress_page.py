"""The page about the network says what is so: its code runs, its codes and settings are there."""

from __future__ import annotations

import re
from typing import Any

from jackfield.egress import errors
from jackfield.settings import EgressSettings
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "explanation" / "egress.md").read_text(encoding="utf-8")


def test_its_code_runs() -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "egress.md", "exec", dont_inherit=True), scope)
    assert len(scope["platform"].web.requests) == 1


def test_it_names_every_code() -> None:
    codes = {getattr(errors, name).code for name in errors.__all__} - {"egress-failed"}
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_its_settings_are_settings() -> None:
    known = {f"JACKFIELD_EGRESS_{name.upper()}" for name in EgressSettings.model_fields}
    named = set(re.findall(r"`(JACKFIELD_EGRESS_[A-Z_]+)`", PAGE))
    short = {f"JACKFIELD_EGRESS{name}" for name in re.findall(r"`(_[A-Z_]+)`", PAGE)}
    assert named | short <= known
