"""Attacks that take several calls, several tenants, or begin before the first call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.hostile.case import CRASHED, MEMORY, TIMEOUT, VIOLATION, End
from tests.hostile.cases.plugins import AT_IMPORT
from tests.hostile.house import ATTACKER, BYSTANDER, House
from tests.server.conftest import until

# Setting up starts a dozen zygotes, and the machine may be busy.
pytestmark = [pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(600)]
TENANT, BETWEEN = "hostile-tenant", "hostile-between"


async def _ended(house: House, slug: str, function: str, **arguments: Any) -> tuple[str, str | None, str]:
    """Status, code and message of a call, from its record."""
    answer = await house.call(ATTACKER, slug, function, **arguments)
    record = await house.record(slug, answer["metrics"]["invocation_id"])
    return record["status"], record["error_code"], record["error_message"] or ""


async def _first_call(house: House, function: str) -> tuple[dict[str, Any], Callable[[], Awaitable[bool]]]:
    """The answer of the plugin's only process to its first call, and a question: whether that process has gone."""
    for verb in ("deactivate", "activate"):
        response = await house.ask(ATTACKER, "POST", f"/api/plugins/{BETWEEN}/{verb}")
        assert response.status_code == 200, response.text
    before = set(house.platform.isolates.pids())
    answer = await house.call(ATTACKER, BETWEEN, function)
    started = set(house.platform.isolates.pids()) - before

    async def is_gone() -> bool:
        return not started & set(house.platform.isolates.pids())

    return answer, is_gone


async def test_what_one_tenant_leaves_in_a_plugin_the_next_does_not_find(house: House) -> None:
    for _ in range(3):
        await house.call(ATTACKER, TENANT, "remember", what="mine")
    assert (await house.call(ATTACKER, TENANT, "recall"))["output"] != []
    assert (await house.call(BYSTANDER, TENANT, "recall"))["output"] == []
    await house.is_well()


async def test_no_two_tenants_draw_the_same_numbers(house: House) -> None:
    mine, theirs = [(await house.call(who, TENANT, "draw"))["output"] for who in (ATTACKER, BYSTANDER)]
    assert len({*mine, *theirs}) == 8


async def test_tenants_are_different_users_where_there_are_users(house: House) -> None:
    mine, theirs = [(await house.call(who, TENANT, "who"))["output"] for who in (ATTACKER, BYSTANDER)]
    assert mine[2] != theirs[2]
    if house.level == "strict":
        assert mine[0] >= 0x1000_0000
        assert mine[:2] != theirs[:2]


async def test_memory_comes_clean(house: House) -> None:
    assert (await house.call(BYSTANDER, TENANT, "recall"))["success"]
    assert (await house.call(ATTACKER, TENANT, "look", mark=house.facts["mark"]))["output"] is False


@pytest.mark.parametrize("function", ["burn_on", "talk_on", "forge_the_end"])
async def test_what_goes_on_after_its_call_ends_with_its_process(house: House, function: str) -> None:
    """A thread that works, one that speaks unasked, a handler that has forged its own end."""
    answer, is_gone = await _first_call(house, function)
    assert answer["success"], answer
    await until(is_gone)
    assert (await house.call(ATTACKER, BETWEEN, "count"))["output"] == 1
    await house.is_well()


async def test_what_is_hoarded_over_many_calls_goes_with_the_process(house: House) -> None:
    await _first_call(house, "hoard")
    counts = [(await house.call(ATTACKER, BETWEEN, "count"))["output"] for _ in range(140)]
    assert 1 in counts
    await house.is_well()


async def test_a_plugin_that_dies_again_and_again_takes_nobody_along(house: House) -> None:
    for _ in range(8):
        status, code, message = await _ended(house, BETWEEN, "die")
        assert CRASHED.fits(status, code, message), (status, code)
        await house.neighbour_works()
    await house.is_well()


async def test_a_crowd_of_hanging_calls_leaves_room_for_a_neighbour(house: House) -> None:
    crowd = [asyncio.ensure_future(house.call(ATTACKER, BETWEEN, "hang")) for _ in range(40)]
    for _ in range(10):
        await house.neighbour_works()
    codes = {answer["error"]["code"] for answer in await asyncio.gather(*crowd)}
    assert codes <= {"deadline-exceeded", "overloaded", "breaker-open"}
    await house.is_well()


async def test_whoever_hangs_up_ends_the_call_and_it_is_on_record(house: House) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(house.call(ATTACKER, BETWEEN, "wait"), 0.5)

    async def is_on_record() -> bool:
        page = (await house.ask(ATTACKER, "GET", f"/api/plugins/{BETWEEN}/invocations?limit=20")).json()
        return any(item["name"] == "wait" and item["error_code"] == "caller-gone" for item in page["items"])

    await until(is_on_record)
    await house.is_well()


async def test_a_secret_that_a_plugin_tells_is_in_no_log_and_no_error(house: House) -> None:
    status, code, message = await _ended(house, BETWEEN, "tell_a_secret")
    assert (status, code) == ("error", "plugin-error")
    logs = (await house.ask(ATTACKER, "GET", f"/api/plugins/{BETWEEN}/logs")).text
    errors = (await house.ask(ATTACKER, "GET", f"/api/plugins/{BETWEEN}/errors")).text
    assert "the key is" in message
    assert not house.canaries.seen_in(message + logs + errors)


AT_IMPORT_ENDS = {
    "import-hangs": [TIMEOUT],
    "import-dies": [CRASHED],
    "import-hoards": [MEMORY, End("error", "memory-exceeded")],
    "import-forges": [VIOLATION],
    "import-unseals": [VIOLATION, End("refused", "seal-failed")],
    "import-vanishes": [End("error", "plugin-error"), End("error", "manifest-invalid")],
}


@pytest.mark.parametrize("slug", list(AT_IMPORT))
async def test_a_plugin_that_attacks_while_it_is_imported(house: House, slug: str) -> None:
    attack = asyncio.ensure_future(_ended(house, slug, "work"))
    await house.neighbour_works()
    ended = await attack
    await house.is_well()
    assert any(end.fits(*ended) for end in AT_IMPORT_ENDS[slug]), ended


@pytest.mark.parametrize("path", ["", "/logs", "/errors", "/invocations", "/stats", "/inventory", "/deliveries"])
async def test_a_neighbours_plugin_does_not_exist(house: House, path: str) -> None:
    response = await house.ask(ATTACKER, "GET", f"/api/plugins/neighbour{path}")
    assert response.status_code == 404
    assert (await house.ask(ATTACKER, "POST", "/api/plugins/neighbour/functions/work", {})).status_code in (404, 409)


async def test_what_plugins_say_reaches_its_readers_as_plain_text(house: House) -> None:
    """Runs after the cases: all that they logged and raised is there."""
    for slug in ("hostile-small", "hostile-speaker", BETWEEN):
        for page in ("logs?limit=100", "errors"):
            items = (await house.ask(ATTACKER, "GET", f"/api/plugins/{slug}/{page}")).json()["items"]
            for item in items:
                for name in ("message", "level", "error_message", "error_code", "error_trace"):
                    text = item.get(name) or ""
                    assert all(c.isprintable() or c == "\n" for c in text), (slug, page, name, text[:200])
