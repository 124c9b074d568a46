"""Telegram, end to end: a sealed bot, a Bot API server, what comes in and what goes out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import select

from jackfield.channels import Channels, Intake, Lines, Polling, Telegram
from jackfield.channels.models import ChannelRow
from jackfield.db import Database
from jackfield.egress import Egress
from jackfield.jobs.models import OutboxEvent
from jackfield.settings import EgressSettings
from tests.server.channels.house import PUBLIC, TOKEN, running
from tests.server.conftest import until
from tests.server.webhooks.conftest import OpenSealer
from tests.servers.serving import serving
from tests.servers.telegram import TelegramServer


async def test_a_message_reaches_the_plugins_that_are_on_the_channel_and_no_others(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        assert (channel["state"], channel["identity"], channel["updates"]) == ("connected", "@shop_bot", "webhook")
        assert TOKEN not in str(channel)
        await house.install("bot")
        await house.install("other")
        await house.assign(channel, "bot", settings={"mood": "good"})
        update = await house.says("hello")
        heard = (await house.call("bot", "Kept"))[f"heard:{update['update_id']}"]
        assert heard == {
            "text": "hello", "photos": [], "edited": False, "settings": {"mood": "good"}, "kind": "telegram",
            "execution": "event",
        }  # fmt: skip
        assert await house.call("other", "Kept") == {}
        # The same update again is the same message.
        assert await house.hook(update) == 200
        await house.platform.drain_events()
        deliveries = (await house.ask("GET", "/plugins/bot/deliveries"))["items"]
        assert [item["event"] for item in deliveries].count("telegram.message") == 1
        # Another bot's channel is not the business of one that is on this one.
        second = await house.channel(name="second")
        await house.assign(second, "other")
        update = await house.says("psst")
        assert f"heard:{update['update_id']}" not in await house.call("bot", "Kept")
        assert (await house.call("other", "Kept"))[f"heard:{update['update_id']}"] == "psst"


async def test_who_is_switched_off_or_has_no_grant_or_lacks_a_gateway_hears_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.install("bot")
        await house.assign(channel, "bot", enabled=False)
        await house.says("one")
        assert await house.call("bot", "Kept") == {}
        await house.assign(channel, "bot")
        # It needs a gateway of Telegram's, and the plugin's own channel says that it is connected no more.
        async with house.platform.database.write("acme") as session:
            row = await session.get(ChannelRow, channel["id"])
            assert row is not None
            row.state = "broken"
        await house.platform.intake.take_update(row, house.telegram.says("two"))
        await house.platform.drain_events()
        assert await house.call("bot", "Kept") == {}
        await house.ask("POST", f"/channels/{channel['id']}/connect")
        await house.ask("DELETE", f"/channels/{channel['id']}/plugins/bot")
        await house.says("three")
        assert await house.call("bot", "Kept") == {}


async def test_a_plugin_without_the_grant_hears_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, "channel-analytics") as house:
        telegram, chat = await house.channel(), await house.channel("web-chat")
        await house.install("channel-analytics", without="channels:web-chat")
        for channel in (telegram, chat):
            await house.assign(channel, "channel-analytics")
        await house.ask("POST", f"/channels/{chat['id']}/disconnect")
        await house.ask("POST", f"/channels/{chat['id']}/connect")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=house.platform.asgi), base_url=PUBLIC
        ) as visitor:  # fmt: skip
            path = f"/api/channels/{chat['id']}/messages"
            said = await visitor.post(path, json={"text": "hi"}, headers={"X-Channel-Key": chat["public_key"]})
            assert said.status_code == 202
        await house.platform.drain_events()
        assert (await house.call("channel-analytics", "GetFigures"))["total"] == 0
        await house.says("hi")
        assert (await house.call("channel-analytics", "GetFigures"))["total"] == 1


async def test_it_answers_with_buttons_and_ends_their_waiting(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.install("bot")
        await house.assign(channel, "bot")
        await house.says("/menu")
        ((number, menu),) = house.telegram.sent.items()
        assert (menu["text"], menu["chat_id"]) == ("What?", 42)
        assert menu["reply_markup"]["inline_keyboard"] == [
            [{"text": "Book", "callback_data": "book"}, {"text": "Site", "url": "https://example.com/"}]
        ]
        assert menu["reply_parameters"]["message_id"]
        assert await house.hook(house.telegram.presses("book", message_id=number)) == 200
        await house.platform.drain_events()
        assert [each["text"] for each in house.telegram.answered] == ["You chose book"]
        assert house.telegram.sent[number]["text"] == "Chosen: book"


async def test_what_was_sent_with_a_key_is_sent_once_though_the_event_is_replayed(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.install("bot")
        await house.assign(channel, "bot")
        update = await house.says("/say once")
        (first,) = house.telegram.sent
        deliveries = (await house.ask("GET", "/plugins/bot/deliveries"))["items"]
        (told,) = [item for item in deliveries if item["event"] == "telegram.message"]
        await house.ask("POST", f"/plugins/bot/deliveries/{told['id']}/replay")
        await house.platform.drain_events()
        assert list(house.telegram.sent) == [first]
        kept = await house.call("bot", "Kept")
        assert kept[f"sent:{update['update_id']}"] == ["sent", [str(first)], True]


async def test_long_texts_are_several_messages_and_refusals_are_typed(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.install("bot")
        await house.assign(channel, "bot")
        text = "\n".join(f"line {number} 😀" for number in range(700))
        outcome, ids = await house.call("bot", "Write", kind="telegram", chat_id="42", text=text)
        assert (outcome, len(ids)) == ("sent", 3)
        house.telegram.blocked.add(7)
        assert await house.call("bot", "Write", kind="telegram", chat_id="7", text="x") == ["blocked", []]
        house.telegram.refuse("sendMessage", 429, "Too Many Requests: retry after 1", retry_after=1)
        assert (await house.call("bot", "Write", kind="telegram", chat_id="42", text="later"))[0] == "sent"
        house.telegram.refuse("sendMessage", 429, "Too Many Requests: retry after 60", retry_after=60)
        assert await house.refusal("bot", "Write", kind="telegram", chat_id="42", text="x") == "retry-later"
        house.telegram.refuse("sendMessage", 400, "Bad Request: message text is odd")
        assert await house.refusal("bot", "Write", kind="telegram", chat_id="42", text="x") == "gateway-refused"
        house.telegram.refuse("sendMessage", 401, "Unauthorized")
        assert await house.refusal("bot", "Write", kind="telegram", chat_id="42", text="x") == "channel-broken"
        found = await house.ask("GET", f"/channels/{channel['id']}")
        assert (found["state"], TOKEN in str(found)) == ("broken", False)
        assert await house.refusal("bot", "Write", kind="telegram", chat_id="42", text="x") == "channel-not-connected"
        assert (await house.ask("POST", f"/channels/{channel['id']}/connect"))["state"] == "connected"


async def test_only_telegram_itself_may_post_updates(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.install("bot")
        await house.assign(channel, "bot")
        update = house.telegram.says("forged")
        assert await house.hook(update, secret="wrong") == 404
        assert await house.hook(update, url=f"{PUBLIC}/api/channels/hooks/nobodys") == 404
        assert await house.hook({"update_id": "x", "message": 1}) == 200  # of no use, and would come for ever
        assert await house.hook({"update_id": 5, "message": {"message_id": "NaN"}}) == 200
        await house.platform.drain_events()
        assert await house.call("bot", "Kept") == {}
        before = house.telegram.webhook["url"]
        await house.ask("POST", f"/channels/{channel['id']}/disconnect")
        assert house.telegram.webhook == {}
        assert await house.hook(update, url=before, secret="any") == 404


async def test_without_a_public_address_updates_are_fetched_and_none_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        house.telegram.says("before it was connected")
        channel = await house.channel(updates="polling")
        assert channel["updates"] == "polling"
        await house.install("bot")
        await house.assign(channel, "bot")
        update = house.telegram.says("fetched", photo=[{"file_id": "small"}, {"file_id": "large"}])

        async def heard() -> bool:
            await house.platform.drain_events()
            return f"heard:{update['update_id']}" in await house.call("bot", "Kept")

        await until(heard)
        kept = (await house.call("bot", "Kept"))[f"heard:{update['update_id']}"]
        assert kept["photos"] == ["small", "large"]

        async def forgotten() -> bool:
            return house.telegram.waiting == 0

        await until(forgotten)
        offsets = [given.get("offset", 0) for method, given in house.telegram.calls if method == "getUpdates"]
        assert offsets == sorted(offsets)


async def test_a_wrong_token_is_kept_as_a_broken_channel_that_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        bad = "999999:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bad"
        made = await house.ask("POST", "/channels", kind="telegram", name="x", settings={}, secret=bad)
        assert (made["state"], bad in str(made)) == ("broken", False)
        assert "token" in made["reason"]
        assert (await house.ask("POST", f"/channels/{made['id']}/test"))["ok"] is False
        fixed = await house.ask("PATCH", f"/channels/{made['id']}", secret=TOKEN, settings={"updates": "webhook"})
        assert fixed["state"] == "connected"
        for body in (
            {"kind": "telegram", "name": "y", "secret": "no token"}, {"kind": "telegram", "name": "y"},
            {"kind": "pigeon", "name": "y"}, {"kind": "http", "name": "y", "settings": {"a": 1}},
        ):  # fmt: skip
            answer = await house.owner.post("/api/channels", json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "channel-settings-invalid"), answer.text
        answer = await house.owner.post("/api/channels", json={"kind": "http", "name": "x"})
        assert (answer.status_code, answer.json()["code"]) == (409, "channel-name-taken")


async def test_channels_of_one_tenant_are_nothing_to_another(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        await house.platform.tenants.ensure_tenant("rival", name="Rival")
        token = (await house.platform.tenants.issue_token("owner", tenant_id="rival")).plaintext
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=house.platform.asgi), base_url=PUBLIC,
            headers={"Authorization": f"Bearer {token}"},
        ) as rival:  # fmt: skip
            assert (await rival.get("/api/channels")).json()["items"] == []
            base = f"/api/channels/{channel['id']}"
            tries: list[Any] = [
                rival.get(base), rival.patch(base, json={"name": "mine"}), rival.delete(base),
                rival.post(f"{base}/connect"), rival.post(f"{base}/disconnect"), rival.post(f"{base}/test"),
                rival.get(f"{base}/plugins"), rival.get(f"{base}/functions"),
                rival.post(f"{base}/functions/Where", json={}),
            ]  # fmt: skip
            answers = await asyncio.gather(*tries)
        assert {answer.status_code for answer in answers} == {404}
        assert (await house.ask("GET", f"/channels/{channel['id']}"))["state"] == "connected"


async def test_two_nodes_fetch_one_channel_in_turns_and_no_update_is_lost_or_taken_twice(
    either_database: Database,
) -> None:
    house = Polls(either_database)
    async with house.running() as (telegram, channels, nodes):
        made = await channels.add("acme", "telegram", "x", {"updates": "polling"}, TOKEN, actor="test")
        first = asyncio.create_task(nodes[0].run())
        second = asyncio.create_task(nodes[1].run())
        for number in range(10):
            telegram.says(f"message {number}")

        async def taken() -> bool:
            return telegram.waiting == 0

        await until(taken)
        # The one that fetches dies; the other goes on where it ended.
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        for number in range(10, 20):
            telegram.says(f"message {number}")
        await until(taken)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        async with either_database.read("acme") as session:
            query = select(OutboxEvent.payload).where(OutboxEvent.name == "telegram.message")
            texts = [msgspec.json.decode(payload)["text"] for payload in await session.scalars(query)]
        assert sorted(texts) == sorted(f"message {number}" for number in range(20))
        assert made.row.state == "connected"


class Polls:
    """Two nodes that fetch, and nothing else of a platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[TelegramServer, Channels, list[Polling]]]:
        telegram = TelegramServer()
        with serving(telegram.app) as url:
            egress = Egress(EgressSettings(allowed=("127.0.0.1",)))
            lines = Lines(Telegram(egress, url))
            lines.sealer = OpenSealer()
            active: Any = None  # nobody is asked for plugins
            channels = Channels(self._database, lines, active, PUBLIC)
            intake = Intake(self._database)
            yield telegram, channels, [Polling(self._database, channels, intake, lines) for _ in range(2)]
            await egress.close()
