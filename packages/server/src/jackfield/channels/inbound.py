"""Where people's messages come in: Telegram's updates, web chats, HTTP callers, voice agents."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response

from jackfield.channels.endpoints import Id, check_arguments
from jackfield.channels.errors import ChannelInvalidError, ChannelKeyInvalidError
from jackfield.channels.intake import Intake
from jackfield.channels.models import ChannelRow, MessageRow
from jackfield.channels.offering import Offering
from jackfield.channels.schemas import (
    MessageIn,
    MessageTakenOut,
    RepliesOut,
    ReplyOut,
    VoiceIn,
    VoiceOut,
    offered_out,
)
from jackfield.channels.service import HOOKS_PATH
from jackfield.channels.talking import Talking, chat_of, new_session
from jackfield.http import problem_responses, read_body
from jackfield.http.caller import bearer_token
from jackfield.ids import new_id
from jackfield_sdk.wire import Caller

__all__ = ["inbound_router"]

_Key = Annotated[str | None, Header(alias="X-Channel-Key", max_length=100, description="Web chat: its public key")]
_Session = Annotated[str | None, Header(alias="X-Channel-Session", max_length=100, description="Web chat")]


def inbound_router(talking: Talking, intake: Intake, offering: Offering) -> APIRouter:
    """Endpoints for whoever is on the other end. Credentials are the channel's, and no member's."""
    routes = APIRouter(tags=["channels"])

    @routes.post(HOOKS_PATH + "{token}", operation_id="receiveUpdate", responses=problem_responses(404, 413, 429))
    async def update(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        token: str,
        request: Request,
        secret: Annotated[str | None, Header(alias="X-Telegram-Bot-Api-Secret-Token", max_length=256)] = None,
    ) -> Response:
        """An update of Telegram's. It is answered when it is kept; until then Telegram sends it again."""
        channel = await talking.hook(token, secret)
        body = await read_body(request, talking.settings.body_bytes)
        try:
            given = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ChannelInvalidError("this is no update", hint="") from None
        await intake.take_update(channel, given)
        return Response(b"{}", media_type="application/json", headers={"Cache-Control": "no-store"})

    @routes.post(
        "/api/channels/{channel_id}/messages", status_code=202, operation_id="sayOnChannel",
        responses=problem_responses(401, 413, 429, 503),
    )  # fmt: skip
    async def say(  # pyright: ignore[reportUnusedFunction]
        channel_id: Id, body: MessageIn, request: Request, response: Response, key: _Key = None
    ) -> MessageTakenOut:
        """Write on a web chat (`X-Channel-Key`), or as an HTTP channel (`Authorization: Bearer`)."""
        response.headers["Cache-Control"] = "no-store"
        if not body.text and body.data is None:
            raise ChannelInvalidError("there is neither `text` nor `data`", hint="")
        if key is not None:
            channel = await talking.visited(channel_id, key)
            session = body.session or new_session()
            if not len(session) >= 32:
                # One that can be guessed would let others read along.
                raise ChannelInvalidError("`session` is none that we gave", hint="Leave it out; the answer has one.")
            chat = chat_of(session)
            id, is_known = await talking.say(
                channel, chat, text=body.text, sender=_address(request), id=body.id, user_id=chat,
                user_name=body.user_name, data=body.data,
            )  # fmt: skip
            return MessageTakenOut(id=id, session=session, duplicate=is_known)
        channel = await talking.called(channel_id, "http", bearer_token(request.headers.get("authorization")))
        if body.chat is None:
            raise ChannelInvalidError("`chat` says which conversation it is", hint="")
        id, is_known = await talking.say(
            channel, body.chat, text=body.text, sender=body.chat, id=body.id, user_id=body.user_id,
            user_name=body.user_name, data=body.data,
        )  # fmt: skip
        return MessageTakenOut(id=id, session=None, duplicate=is_known)

    @routes.get(
        "/api/channels/{channel_id}/messages", operation_id="listChannelReplies", responses=problem_responses(401, 429)
    )
    async def replies(  # pyright: ignore[reportUnusedFunction]
        channel_id: Id,
        request: Request,
        response: Response,
        key: _Key = None,
        session: _Session = None,
        chat: Annotated[str | None, Query(max_length=100, description="HTTP: the conversation")] = None,
        after: Annotated[int, Query(ge=0)] = 0,
    ) -> RepliesOut:
        """What plugins have answered since `after`, in order."""
        response.headers["Cache-Control"] = "no-store"
        if key is not None:
            channel = await talking.visited(channel_id, key)
            if session is None:
                raise ChannelKeyInvalidError("this is no session")
            chat = chat_of(session)
        else:
            channel = await talking.called(channel_id, "http", bearer_token(request.headers.get("authorization")))
        talking.asked(channel, chat or "")
        return _replies(await talking.replies(channel, chat or "", after), after)

    @routes.post(
        "/api/channels/{channel_id}/voice", operation_id="talkAsVoiceAgent",
        responses=problem_responses(401, 404, 429, 503),
    )  # fmt: skip
    async def voice(channel_id: Id, body: VoiceIn, request: Request, response: Response) -> VoiceOut:  # pyright: ignore[reportUnusedFunction]
        """One step of a voice agent's session, with the channel's token: start, a user's turn, a function, the end."""
        response.headers["Cache-Control"] = "no-store"
        channel = await talking.called(channel_id, "voice-agent", bearer_token(request.headers.get("authorization")))
        if body.type == "start":
            talking.asked(channel, "start")
            functions = await offering.functions(channel.tenant_id, channel.id)
            return VoiceOut(session=new_id("call"), functions=[offered_out(each) for each in functions])
        if body.session is None:
            raise ChannelInvalidError("`session` is needed; `start` gives one", hint="")
        result: Any = None
        if body.type == "turn":
            await talking.say(
                channel, body.session, text=body.text, sender=body.session, id=body.id, user_id=body.user_id,
                user_name=body.user_name,
            )  # fmt: skip
        elif body.type == "call":
            result = await _called(offering, channel, body)
        answered = _replies(await talking.replies(channel, body.session, body.after), body.after)
        return VoiceOut(session=body.session, result=result, replies=answered.items, after=answered.after)

    return routes


async def _called(offering: Offering, channel: ChannelRow, body: VoiceIn) -> Any:
    check_arguments(body.arguments)
    # Whoever speaks is no member: they may what a member without any office may, and own nothing.
    caller = Caller(f"channel:{channel.id}", "member")
    found = await offering.call(
        channel.tenant_id, channel.id, body.function, body.arguments, caller, is_member=False
    )  # fmt: skip
    return msgspec.to_builtins(found)


def _replies(rows: Any, after: int) -> RepliesOut:
    items = [_reply(row) for row in rows]
    return RepliesOut(items=items, after=items[-1].sequence if items else after)


def _reply(row: MessageRow) -> ReplyOut:
    said = row.body
    return ReplyOut(
        sequence=row.sequence, id=next(iter(said.get("message_ids", ())), row.id), text=said.get("text", ""),
        format=said.get("format", "plain"), buttons=said.get("buttons", []), edits=said.get("edits"),
        sent_at=row.created_at,
    )  # fmt: skip


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""
