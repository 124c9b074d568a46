"""Widgets: in order, each checked, one that fails named and contained."""

from __future__ import annotations

import json

import pytest

from jackfield.extension_points.errors import SlotUnknownError
from tests.server.sealed_house import TENANT, House

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_widgets_come_in_order_and_a_failing_one_takes_nobody_with_it(house: House) -> None:
    found = await house.platform.tenant(TENANT).widgets("Desk.Top", {"n": 1})
    assert [widget.title for widget in found] == ["First", "Second", "Broken", "Wild"]
    assert [widget.error is None for widget in found] == [True, True, False, True], found
    assert found[0].tree["text"] == "first"


async def test_what_is_not_in_the_vocabulary_is_not_shown(house: House) -> None:
    wild = (await house.platform.tenant(TENANT).widgets("Desk.Top", {"n": 1}))[3]
    assert wild.tree["type"] == "Text"
    assert "cannot be shown" in wild.tree["text"]
    assert "evil" not in json.dumps(wild.tree)


async def test_a_condition_looks_at_the_context(house: House) -> None:
    found = await house.platform.tenant(TENANT).widgets("Desk.Top", {"n": 10})
    assert found[-1].title == "Rare"


async def test_over_http_with_a_context_of_json(house: House) -> None:
    query = {"context": json.dumps({"n": 10})}
    response = await house.ask("GET", "/api/plugins/ui-components/Desk.Top", "member", params=query)
    assert [widget["title"] for widget in response.json()["widgets"]][-1] == "Rare"
    assert (await house.ask("GET", "/api/plugins/ui-components/Desk.Top", None)).status_code == 401


@pytest.mark.parametrize("context", ["{", "[" * 15_000, '{"a": "\\ud800"}', "9" * 40_000])
async def test_a_context_that_is_no_json_is_refused(house: House, context: str) -> None:
    response = await house.ask("GET", "/api/plugins/ui-components/Desk.Top", "member", params={"context": context})
    assert response.status_code == 422


async def test_unknown_slots_are_missing(house: House) -> None:
    with pytest.raises(SlotUnknownError):
        await house.platform.tenant(TENANT).widgets("No.Such", {})
    assert (await house.ask("GET", "/api/plugins/ui-components/No.Such", "member")).status_code == 404
