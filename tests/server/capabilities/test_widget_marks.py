"""`ctx.widgets`: a plugin says that a widget of its own shows something else by now."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from jackfield.capabilities.errors import ArgumentsInvalidError
from jackfield.db import Database
from jackfield.http import Caller
from jackfield.live import Hub
from tests.server.capabilities.installations import Installed, installed, make_gate, manifest


async def test_a_widget_that_changed_is_told_in_each_of_its_slots_and_not_while_one_is_drawn(
    database: Database,
) -> None:
    hub = Hub(database)
    widgets = [
        {"slot": slot, "handler": "card", "title": "Card"} for slot in ("Dashboard.Widgets", "POS.AfterCheckout")
    ]
    plugin = installed(make_gate(database, live=hub), release=manifest(widgets=widgets), grants=[])
    drawing = Installed(plugin.gate, dataclasses.replace(plugin.context, handler="widget Dashboard.Widgets"))
    feeding = asyncio.create_task(hub.run())
    stream, _ = await hub.open("acme", Caller("member", "acme", "max"), frozenset({"widget"}), "loyalty")
    await drawing.call("widgets", "refresh", name="card")
    assert await plugin.call("widgets", "refresh", name="card") is None
    frames: list[bytes] = []
    async with asyncio.timeout(15):
        while len(frames) < 2:
            event = await stream.next()
            assert event is not None
            frames.append(event.frame)
    assert all(slot in frame for slot, frame in zip((b"Dashboard.Widgets", b"POS.AfterCheckout"), frames, strict=True))
    for name in ("ledger", "", "card\0"):
        with pytest.raises(ArgumentsInvalidError):
            await plugin.call("widgets", "refresh", name=name)
    hub.leave(stream)
    feeding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await feeding
