"""Telegram by its Bot API (https://core.telegram.org/bots/api), through egress."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from jackfield.channels.errors import (
    ChannelBrokenError,
    ChannelInvalidError,
    GatewayRefusedError,
    GatewayUnavailableError,
)
from jackfield.channels.interfaces import Features, Hook, Line, Outgoing, Reply
from jackfield.channels.telegram_text import LIMIT, length, parts
from jackfield.egress import Egress, HostPolicy, OutboundRequest
from jackfield.errors import JackfieldError

__all__ = ["ALLOWED_UPDATES", "Telegram", "UpdatesConflictError"]

ALLOWED_UPDATES = ["message", "edited_message", "channel_post", "edited_channel_post", "callback_query"]
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}\Z")
_SHORT_WAIT_S = 3.0
"""What is waited for here when Telegram has had too much; anything longer is for the caller to know."""
_GONE = ("chat not found", "user is deactivated", "bot was kicked", "peer_id_invalid")
_SAME = "message is not modified"


class UpdatesConflictError(GatewayUnavailableError):
    """Updates of the bot go elsewhere: to a webhook, or to another program that fetches them."""

    code = "updates-conflict"
    default_hint = "One program alone gets a bot's updates. Stop the other one, or make another bot."


class _Answer(msgspec.Struct, frozen=True):
    ok: bool = False
    result: Any = None
    error_code: int = 0
    description: str = ""
    parameters: dict[str, Any] = {}


class Telegram:
    """The gateway.

    Args:
        api: Where the Bot API is.
    """

    features = Features(callbacks=True, is_remote=True, fetches=True)

    def __init__(self, egress: Egress, api: str = "https://api.telegram.org") -> None:
        self._egress = egress
        self._api = api.rstrip("/")
        at = urlsplit(self._api)
        self._host = f"{at.hostname}:{at.port}" if at.port else str(at.hostname)

    def checked(self, settings: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
        """`updates`: `auto` (by webhook when the platform has a public https address), `webhook` or `polling`.

        Raises:
            ChannelInvalidError: Other settings, or something that is no bot's token.
        """
        if unknown := sorted(settings.keys() - {"updates"}):
            raise ChannelInvalidError(f"there is no setting `{unknown[0][:40]}`")
        updates = settings.get("updates", "auto")
        if updates not in ("auto", "webhook", "polling"):
            raise ChannelInvalidError("`updates` is `auto`, `webhook` or `polling`")
        if secret is not None and not _TOKEN.match(secret):
            raise ChannelInvalidError("this is no token of a bot", hint="@BotFather gives it, as 123456:ABC-DEF…")
        return {"updates": updates}

    async def check(self, line: Line) -> str:
        """The bot's user name."""
        me = await self._done(line, "getMe", {})
        name = cast("dict[str, Any]", me).get("username") if isinstance(me, dict) else None
        return f"@{name}"[:200] if isinstance(name, str) else ""

    async def set_up(self, line: Line, hook: Hook | None) -> None:
        """Have updates posted to the hook, or fetched."""
        if hook is None:
            await self.tear_down(line)
            return
        await self._done(
            line, "setWebhook", {"url": hook.url, "secret_token": hook.secret, "allowed_updates": ALLOWED_UPDATES}
        )

    async def tear_down(self, line: Line) -> None:
        """Have them posted nowhere. What waits stays with Telegram for a day."""
        await self._done(line, "deleteWebhook", {})

    async def updates(self, line: Line, offset: int, timeout_s: int) -> list[Any]:
        """Updates from the offset on; asks as long as the time-out for the first one.

        Raises:
            UpdatesConflictError: They go elsewhere.
        """
        found = await self._done(
            line, "getUpdates",
            {"offset": offset, "timeout": timeout_s, "limit": 100, "allowed_updates": ALLOWED_UPDATES},
            timeout_s=timeout_s + 10.0,
        )  # fmt: skip
        return cast("list[Any]", found) if isinstance(found, list) else []

    async def send(self, line: Line, message: Outgoing) -> Reply:
        """Send a text, in several messages when it is too long for one; the last one has the buttons."""
        if message.format == "markdown" and length(message.text) > LIMIT:
            # Cut anywhere, what is bold in the one part would have no end there.
            raise GatewayRefusedError(f"a text in Markdown has at most {LIMIT} characters")
        texts = parts(message.text) if message.format == "plain" else [message.text]
        ids: list[str] = []
        for index, text in enumerate(texts):
            is_last = index == len(texts) - 1
            given = _body(message, text, with_buttons=is_last)
            if index == 0 and message.reply_to is not None:
                given["reply_parameters"] = {
                    "message_id": _number(message.reply_to, "reply_to"), "allow_sending_without_reply": True,
                }  # fmt: skip
            reply = await self._told(line, "sendMessage", given, may_wait=True)
            if isinstance(reply, Reply):
                # What is out already cannot be taken back: to send it all again would say it twice.
                return reply if not ids else Reply("sent", tuple(ids))
            ids.append(_message_id(reply))
        return Reply("sent", tuple(ids))

    async def edit(self, line: Line, message_id: str, message: Outgoing) -> Reply:
        """Replace a message."""
        given = {**_body(message, message.text, with_buttons=True), "message_id": _number(message_id, "message_id")}
        reply = await self._told(line, "editMessageText", given)
        return reply if isinstance(reply, Reply) else Reply("sent", (message_id,))

    async def answer(self, line: Line, callback_id: str, text: str, *, alert: bool) -> Reply:
        """End a button's waiting."""
        given = {"callback_query_id": callback_id, "text": text[:200], "show_alert": alert}
        reply = await self._told(line, "answerCallbackQuery", given)
        return reply if isinstance(reply, Reply) else Reply()

    async def _told(self, line: Line, method: str, given: dict[str, Any], *, may_wait: bool = False) -> Any:
        """The result, or a `Reply` when it was not taken."""
        answer = await self._call(line, method, given)
        if answer.error_code == 429:
            wait_s = _wait_s(answer)
            if not may_wait or wait_s > _SHORT_WAIT_S:
                return Reply("busy", retry_after_s=wait_s)
            await asyncio.sleep(wait_s)
            answer = await self._call(line, method, given)
            if answer.error_code == 429:
                return Reply("busy", retry_after_s=_wait_s(answer))
        if answer.ok:
            return answer.result
        said = answer.description.lower()
        if answer.error_code == 403 or (answer.error_code == 400 and any(mark in said for mark in _GONE)):
            return Reply("blocked")
        if answer.error_code == 400 and _SAME in said:
            return {}
        raise _failure(answer)

    async def _done(self, line: Line, method: str, given: dict[str, Any], *, timeout_s: float | None = None) -> Any:
        answer = await self._call(line, method, given, timeout_s=timeout_s)
        if answer.ok:
            return answer.result
        raise _failure(answer)

    async def _call(self, line: Line, method: str, given: dict[str, Any], *, timeout_s: float | None = None) -> _Answer:
        policy = HostPolicy(line.tenant_id, line.account or f"channel:{line.channel_id}", (self._host,))
        request = OutboundRequest(
            "POST", f"{self._api}/bot{line.secret}/{method}", (("content-type", "application/json"),),
            msgspec.json.encode(given), timeout_s=timeout_s, max_redirects=0,
        )  # fmt: skip
        try:
            response = await self._egress.send(request, policy, payer=line.payer)
        except JackfieldError as error:
            # Not in its words: the address has the token in it.
            raise GatewayUnavailableError(f"Telegram cannot be reached ({error.code})") from None
        try:
            return msgspec.json.decode(response.body, type=_Answer)
        except msgspec.MsgspecError:
            raise GatewayUnavailableError(f"Telegram answers {response.status}, and not as it should") from None


def _failure(answer: _Answer) -> JackfieldError:
    said = _printable(answer.description)
    if answer.error_code in (401, 404):
        return ChannelBrokenError("Telegram does not know the bot's token any more")
    if answer.error_code == 409:
        return UpdatesConflictError("updates of this bot go elsewhere")
    if answer.error_code == 429:
        return GatewayUnavailableError("Telegram takes no more now", retry_after_s=_wait_s(answer))
    if 400 <= answer.error_code < 500:
        return GatewayRefusedError(f"Telegram refuses it: {said}")
    return GatewayUnavailableError(f"Telegram fails ({answer.error_code})")


def _wait_s(answer: _Answer) -> float:
    given = answer.parameters.get("retry_after")
    return float(min(max(given, 1), 86_400)) if isinstance(given, int | float) else 1.0


def _body(message: Outgoing, text: str, *, with_buttons: bool) -> dict[str, Any]:
    given: dict[str, Any] = {"chat_id": _chat(message.chat_id), "text": text}
    if message.format == "markdown":
        given["parse_mode"] = "MarkdownV2"
    if with_buttons and message.buttons:
        rows: list[list[dict[str, str]]] = []
        for row in message.buttons:
            rows.append([])
            for button in row:
                if button.url is None and len((button.data or "").encode()) > 64:
                    raise GatewayRefusedError("what a button brings back has at most 64 bytes")
                rows[-1].append(
                    {"text": button.text, "url": button.url} if button.url is not None
                    else {"text": button.text, "callback_data": button.data or ""}
                )  # fmt: skip
        given["reply_markup"] = {"inline_keyboard": rows}
    return given


def _chat(chat_id: str) -> int | str:
    return int(chat_id) if re.match(r"-?[0-9]{1,18}\Z", chat_id) else chat_id


def _number(text: str, what: str) -> int:
    if not re.match(r"[0-9]{1,18}\Z", text):
        raise GatewayRefusedError(f"`{what}` is no message of Telegram's")
    return int(text)


def _message_id(result: Any) -> str:
    found = cast("dict[str, Any]", result).get("message_id") if isinstance(result, dict) else None
    return str(found) if isinstance(found, int) else ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:200])
