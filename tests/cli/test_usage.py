"""`jackfield usage` shows what the plan allows and what is used of it."""

from __future__ import annotations

from collections.abc import Callable

from tests.cli.conftest import Ran


def test_usage_is_shown_for_people_and_for_programs(owner: Callable[..., Ran], echo: str) -> None:
    assert owner("call", echo, "echo", '{"text": "hi"}').status == 0
    shown = owner("usage")
    assert shown.status == 0
    assert "plan" in shown.out
    assert "calls per minute" in shown.out
    assert echo in shown.out
    usage = owner("usage", "--json").json
    assert usage["plan"] == "free"
    assert {plugin["plugin"] for plugin in usage["plugins"]} == {echo}
