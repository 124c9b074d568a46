"""The page about quotas says what the settings are."""

from __future__ import annotations

import re

from jackfield.settings import CeilingSettings, LimitSettings, Settings
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "explanation" / "quotas.md").read_text()
_UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "s": 1000}


def cells(name: str) -> list[int]:
    """The numbers of the line that begins with a name."""
    found = re.search(rf"^\| {re.escape(name)} \|(.*)$", PAGE, re.MULTILINE)
    assert found, name
    numbers: list[int] = []
    for cell in found[1].split("|"):
        match = re.fullmatch(r" ([\d,]+)( \w+)? ", cell)
        if match:
            numbers.append(int(match[1].replace(",", "")) * _UNITS.get((match[2] or "").strip(), 1))
    return numbers


def test_limits_and_ceilings_are_as_the_page_says() -> None:
    limits, ceilings = LimitSettings(), CeilingSettings()
    for name in CeilingSettings.model_fields:
        assert cells(f"`{name}`") == [getattr(limits, name), getattr(ceilings, name)], name


def test_plans_are_as_the_page_says() -> None:
    plans = [Settings().plans[name] for name in ("free", "pro", "enterprise")]
    lines = {
        "calls per minute": "calls_per_minute", "processor time per minute": "cpu_ms_per_minute",
        "capability calls per minute": "host_calls_per_minute", "bytes sent out per minute": "egress_bytes_per_minute",
        "calls at the same time": "concurrency", "storage": "storage_bytes", "rows": "rows",
    }  # fmt: skip
    for line, field in lines.items():
        assert cells(line) == [getattr(plan.tenant, field) for plan in plans], line
        assert [getattr(plan.plugin, field) for plan in plans] == [number // 2 for number in cells(line)], line
    assert cells("plugins") == [plan.plugins for plan in plans]
