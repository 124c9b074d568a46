"""The plugin `channel-analytics`, sealed and unchanged: Telegram → counts → widget; and again, with the same totals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from jackfield.http import Caller
from jackfield.live import Stream
from tests.server.channels.house import House, running


async def test_what_is_said_on_telegram_is_counted_once_whatever_is_delivered_again(tmp_path: Path) -> None:
    async with running(tmp_path, "channel-analytics") as house:
        channel = await house.channel()
        await house.install("bot")
        await house.install("channel-analytics")
        for slug in ("bot", "channel-analytics"):
            await house.assign(channel, slug)
        for user in (1, 1, 2):
            house.telegram.says("/say thanks", user=user)
        for update in list(house.telegram._pending):
            assert await house.hook(update) == 200
        await house.platform.drain_events()
        first = await shown(house)
        assert first == {"total": 6, "today": 6, "week": 6, "users": 2}

        # Telegram posts all of it again, and an admin replays each delivery.
        for update in list(house.telegram._pending):
            assert await house.hook(update) == 200
        for slug in ("bot", "channel-analytics"):
            for delivery in (await house.ask("GET", f"/plugins/{slug}/deliveries"))["items"]:
                if delivery["state"] == "done":
                    await house.ask("POST", f"/plugins/{slug}/deliveries/{delivery['id']}/replay")
        await house.platform.drain_events()
        assert await shown(house) == first
        assert len(house.telegram.sent) == 3

        # The widget follows what is said, and whoever listens hears of it.
        listener = Caller("owner", "acme", token_id="listener")
        stream, _ = await house.platform.live.open("acme", listener, frozenset({"widget", "installation", "delivery"}))
        await house.says("one more", user=3)
        heard = await next_of(stream, "widget")
        assert b'"slot":"Dashboard.Widgets"' in heard
        assert b'"plugin":"channel-analytics"' in await next_of(stream, "delivery")
        assert await shown(house) == {"total": 7, "today": 7, "week": 7, "users": 3}
        await house.ask("POST", "/plugins/channel-analytics/deactivate")
        assert b'"operation":{' in await next_of(stream, "installation")
        house.platform.live.leave(stream)


async def next_of(stream: Stream, kind: str) -> bytes:
    """The next event of a kind."""
    async with asyncio.timeout(15):
        while (event := await stream.next()) is not None:
            if event.kind == kind and event.plugin == "channel-analytics":
                return event.frame
    raise AssertionError("the stream has ended")


async def shown(house: House) -> dict[str, Any]:
    """The figures in the widget."""
    found = await house.ask("GET", "/plugins/ui-components/Dashboard.Widgets")
    (widget,) = found["widgets"]
    grid, chart = widget["tree"]["children"]
    assert (chart["type"], len(chart["data"])) == ("Chart", 7)
    figures = {node["id"]: node["value"] for node in grid["children"]}
    assert chart["data"][-1]["messages"] == figures["today"]
    return figures
