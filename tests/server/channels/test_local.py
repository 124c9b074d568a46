"""Web chats, HTTP channels, voice agents, and functions on channels."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from tests.server.channels.house import PUBLIC, House, running


@contextlib.asynccontextmanager
async def visitor(house: House) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=house.platform.asgi)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield client


async def test_a_visitor_of_a_web_chat_is_answered_and_reads_only_their_own(tmp_path: Path) -> None:
    async with running(tmp_path) as house, visitor(house) as client:
        await house.channel()
        chat = await house.channel("web-chat")
        await house.install("bot")
        await house.assign(chat, "bot", settings={"hello": "Servus"})
        path, key = f"/api/channels/{chat['id']}/messages", {"X-Channel-Key": chat["public_key"]}
        said = (await client.post(path, json={"text": "Ada", "id": "m1"}, headers=key)).json()
        session = said["session"]
        again = (await client.post(path, json={"text": "Ada", "id": "m1", "session": session}, headers=key)).json()
        assert (said["duplicate"], again["duplicate"]) == (False, True)
        await client.post(path, json={"text": "Alan"}, headers=key)
        await house.platform.drain_events()
        mine = (await client.get(path, headers={**key, "X-Channel-Session": session})).json()
        assert [item["text"] for item in mine["items"]] == ["Servus Ada"]
        more = await client.get(path, headers={**key, "X-Channel-Session": session}, params={"after": mine["after"]})
        assert more.json() == {"items": [], "after": mine["after"]}
        for headers in ({}, {"X-Channel-Key": "no"}, {"Authorization": "Bearer x"}):
            assert (await client.post(path, json={"text": "x"}, headers=headers)).status_code == 401
        other = (await client.get(path, headers={**key, "X-Channel-Session": "a" * 43})).json()
        assert other["items"] == []
        guessed = await client.post(path, json={"text": "x", "session": "1"}, headers=key)
        assert guessed.json()["code"] == "channel-settings-invalid"


async def test_who_floods_a_web_chat_is_told_to_wait(tmp_path: Path) -> None:
    async with running(tmp_path) as house, visitor(house) as client:
        chat = await house.channel("web-chat")
        path, key = f"/api/channels/{chat['id']}/messages", {"X-Channel-Key": chat["public_key"]}
        answers = [await client.post(path, json={"text": "x"}, headers=key) for _ in range(62)]
        assert answers[0].status_code == 202
        assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "channel-messages-exceeded")
        assert int(answers[-1].headers["retry-after"]) >= 1


async def test_a_program_talks_over_http_with_the_channels_token(tmp_path: Path) -> None:
    async with running(tmp_path, "channel-analytics") as house, visitor(house) as client:
        await house.channel()
        channel = await house.channel("http")
        await house.install("channel-analytics")
        await house.assign(channel, "channel-analytics")
        path, token = f"/api/channels/{channel['id']}/messages", {"Authorization": f"Bearer {channel['token']}"}
        said = await client.post(path, json={"text": "hi", "chat": "c1", "user_id": "u1"}, headers=token)
        assert (said.status_code, said.json()["session"]) == (202, None)
        assert (await client.post(path, json={"text": "hi"}, headers=token)).status_code == 422
        await house.platform.drain_events()
        assert (await house.call("channel-analytics", "GetFigures"))["received"] == 1
        fresh = (await house.ask("POST", f"/channels/{channel['id']}/token"))["token"]
        assert (await client.get(path, params={"chat": "c1"}, headers=token)).status_code == 401
        assert (await client.get(path, params={"chat": "c1"}, headers={"Authorization": f"Bearer {fresh}"})).json() == {
            "items": [],
            "after": 0,
        }


async def test_functions_of_one_name_go_to_the_lower_priority(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        channel = await house.channel()
        for slug in ("bot", "other"):
            await house.install(slug)
        await house.assign(channel, "bot", priority=20)
        await house.assign(channel, "other", priority=10)

        async def where() -> Any:
            answer = await house.ask("POST", f"/channels/{channel['id']}/functions/Where", arguments={})
            return answer["output"]

        assert await where() == {"plugin": "other"}
        listed = (await house.ask("GET", f"/channels/{channel['id']}/functions"))["items"]
        assert {(f["name"], f["plugin"], tuple(f["hides"])) for f in listed} >= {
            ("Where", "other", ("bot",)), ("Secret", "bot", ()), ("Kept", "other", ("bot",)),
        }  # fmt: skip
        assert [each["plugin"] for each in (await house.ask("GET", f"/channels/{channel['id']}/plugins"))["items"]] == [
            "other", "bot",
        ]  # fmt: skip
        await house.assign(channel, "bot", priority=5)
        assert await where() == {"kind": "channel", "channel": "telegram", "plugin": "bot"}
        answer = await house.owner.post(f"/api/channels/{channel['id']}/functions/Nothing", json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "channel-function-unknown")


async def test_a_voice_agent_starts_talks_calls_and_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as house, visitor(house) as client:
        await house.channel()
        channel = await house.channel("voice-agent")
        await house.install("bot")
        await house.assign(channel, "bot")
        path, token = f"/api/channels/{channel['id']}/voice", {"Authorization": f"Bearer {channel['token']}"}

        async def say(**body: Any) -> Any:
            answer = await client.post(path, json=body, headers=token)
            assert answer.status_code == 200, answer.text
            return answer.json()

        started = await say(type="start")
        session = started["session"]
        assert "Where" in {function["name"] for function in started["functions"]}
        await say(type="turn", session=session, text="I want to book", id="t1")
        called = await say(type="call", session=session, function="Where")
        assert called["result"]["output"] == {"kind": "channel", "channel": "voice-agent", "plugin": "bot"}
        # Whoever speaks is nobody's admin.
        refused = await client.post(
            path, json={"type": "call", "session": session, "function": "Secret"}, headers=token
        )
        assert (refused.status_code, refused.json()["code"]) == (403, "role-too-low")
        written = await house.call("bot", "Write", kind="voice-agent", chat_id=session, text="One moment")
        assert written[0] == "sent"
        ended = await say(type="end", session=session)
        assert [reply["text"] for reply in ended["replies"]] == ["One moment"]
        assert (await client.post(path, json={"type": "start"})).status_code == 401


async def test_a_plugin_writes_only_on_channels_that_it_is_on_and_names_one_of_several(tmp_path: Path) -> None:
    async with running(tmp_path) as house:
        first = await house.channel()
        await house.install("bot")
        write: dict[str, Any] = {"kind": "telegram", "chat_id": "42", "text": "x"}
        assert await house.refusal("bot", "Write", **write) == "channel-not-assigned"
        second = await house.channel(name="second")
        for channel in (first, second):
            await house.assign(channel, "bot")
        assert await house.refusal("bot", "Write", **write) == "channel-ambiguous"
        assert (await house.call("bot", "Write", **write, channel=second["id"]))[0] == "sent"
        assert await house.refusal("bot", "Write", **write, channel="chn_other") == "channel-not-assigned"
        assert await house.refusal("bot", "Write", **{**write, "kind": "http"}) == "permission-denied"
        assert {line["id"] for line in await house.call("bot", "Lines")} == {first["id"], second["id"]}
        await house.ask("DELETE", "/plugins/bot?data=delete")
        assert (await house.ask("GET", f"/channels/{first['id']}/plugins"))["items"] == []
