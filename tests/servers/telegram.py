"""Telegram's Bot API as far as bots use it (https://core.telegram.org/bots/api), with its shapes and refusals."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

__all__ = ["TOKEN", "TelegramServer"]

TOKEN = "123456:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bot"
_LIMIT = 4096


@dataclass
class _Refusal:
    code: int
    description: str
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])


class TelegramServer:
    """One bot, and the people who write to it. Its application runs in a thread of its own.

    Attributes:
        calls: Method and parameters of each call, the oldest first.
        sent: Messages of the bot, by message id.
        answered: Callback queries that were answered.
        refusals: Method → what the next calls of it are refused with.
        blocked: Chats that have blocked the bot.
        posted: Status of each request to the webhook.
    """

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.sent: dict[int, dict[str, Any]] = {}
        self.answered: list[dict[str, Any]] = []
        self.refusals: dict[str, list[_Refusal]] = {}
        self.blocked: set[int] = set()
        self.posted: list[int] = []
        self.webhook: dict[str, Any] = {}
        self._pending: list[dict[str, Any]] = []
        self._updates, self._messages = itertools.count(700), itertools.count(10)
        self._lock = threading.Lock()
        self._asking = 0
        self._last_error = ""
        self.app = Starlette(routes=[Route("/bot{token}/{method}", self._answer, methods=["GET", "POST"])])

    # -- what tests do -----------------------------------------------------------------------------------------------

    def refuse(self, method: str, code: int, description: str, **parameters: Any) -> None:
        """The next call of a method is refused."""
        self.refusals.setdefault(method, []).append(_Refusal(code, description, parameters))

    def says(self, text: str, *, user: int = 42, chat: int | None = None, **more: Any) -> dict[str, Any]:
        """Somebody writes; the update."""
        message = {
            "message_id": next(self._messages), "date": more.pop("date", int(time.time())),
            "from": {"id": user, "is_bot": False, "first_name": f"User {user}"},
            "chat": {"id": chat or user, "type": "private", "first_name": f"User {user}"}, "text": text, **more,
        }  # fmt: skip
        return self.update(message=message)

    def presses(self, data: str, *, user: int = 42, message_id: int = 1) -> dict[str, Any]:
        """Somebody presses a button; the update."""
        return self.update(
            callback_query={
                "id": str(next(self._updates) * 1000), "from": {"id": user, "is_bot": False, "first_name": "User"},
                "message": {"message_id": message_id, "date": 1, "chat": {"id": user, "type": "private"}},
                "chat_instance": "1", "data": data,
            }
        )  # fmt: skip

    def update(self, **what: Any) -> dict[str, Any]:
        """Any update; it waits until it is fetched, or is posted by `post`."""
        with self._lock:
            update = {"update_id": next(self._updates), **what}
            self._pending.append(update)
        return update

    async def post(self, *, attempts: int = 3) -> None:
        """Post what waits to the webhook, in order; again when it is not taken, as Telegram does."""
        async with httpx.AsyncClient() as client:
            for update in list(self._pending):
                for _ in range(attempts):
                    if (await self.post_one(client, update)) < 300:
                        self._pending.remove(update)
                        break

    async def post_one(self, client: httpx.AsyncClient, update: dict[str, Any], *, secret: str | None = None) -> int:
        """One request; its status."""
        given = secret if secret is not None else self.webhook.get("secret_token", "")
        answer = await client.post(
            self.webhook["url"], json=update, headers={"X-Telegram-Bot-Api-Secret-Token": given}
        )  # fmt: skip
        self.posted.append(answer.status_code)
        if answer.status_code >= 300:
            self._last_error = f"Wrong response from the webhook: {answer.status_code}"
        return answer.status_code

    @property
    def waiting(self) -> int:
        """Updates that nobody has got."""
        return len(self._pending)

    # -- what bots do ------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> JSONResponse:
        if request.path_params["token"] != self.token:
            return _error(401, "Unauthorized")
        given: dict[str, Any] = dict(request.query_params)
        if request.method == "POST" and (body := await request.body()):
            given |= await request.json() if body[:1] == b"{" else {}
        method = request.path_params["method"]
        self.calls.append((method, given))
        if refusals := self.refusals.get(method):
            refusal = refusals.pop(0)
            return _error(refusal.code, refusal.description, **refusal.parameters)
        handler = getattr(self, f"_{method}", None)
        if handler is None:
            return _error(404, "Not Found")
        found = handler(given)
        return await found if asyncio.iscoroutine(found) else found

    def _getMe(self, _given: dict[str, Any]) -> JSONResponse:
        return _ok({"id": 123456, "is_bot": True, "first_name": "Shop", "username": "shop_bot"})

    async def _getUpdates(self, given: dict[str, Any]) -> JSONResponse:
        if self.webhook:
            return _error(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook")
        if self._asking:
            return _error(409, "Conflict: terminated by other getUpdates request; make sure that only one bot runs")
        self._asking += 1
        try:
            offset, allowed = int(given.get("offset", 0)), given.get("allowed_updates") or []
            end = time.monotonic() + min(float(given.get("timeout", 0)), 50)
            while True:
                with self._lock:
                    if offset:
                        self._pending = [update for update in self._pending if update["update_id"] >= offset]
                    found = [
                        each for each in self._pending if not allowed or (each.keys() - {"update_id"}) <= {*allowed}
                    ]
                if found or time.monotonic() >= end:
                    return _ok(found[: int(given.get("limit", 100))])
                await asyncio.sleep(0.02)
        finally:
            self._asking -= 1

    def _setWebhook(self, given: dict[str, Any]) -> JSONResponse:
        secret = given.get("secret_token", "")
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,256}", secret):
            return _error(400, "Bad Request: secret token contains unallowed characters")
        self.webhook = {name: given[name] for name in ("url", "secret_token", "allowed_updates") if name in given}
        return _ok(True, description="Webhook was set")

    def _deleteWebhook(self, given: dict[str, Any]) -> JSONResponse:
        self.webhook = {}
        if given.get("drop_pending_updates"):
            self._pending.clear()
        return _ok(True, description="Webhook was deleted")

    def _getWebhookInfo(self, _given: dict[str, Any]) -> JSONResponse:
        info: dict[str, Any] = {
            "url": self.webhook.get("url", ""), "has_custom_certificate": False,
            "pending_update_count": len(self._pending),
        }  # fmt: skip
        if self._last_error:
            info["last_error_message"] = self._last_error
        return _ok(info)

    def _sendMessage(self, given: dict[str, Any]) -> JSONResponse:
        if (wrong := self._wrong(given)) is not None:
            return wrong
        message = {
            "message_id": next(self._messages), "date": int(time.time()), "text": given["text"],
            "chat": {"id": given["chat_id"], "type": "private"}, "from": {"id": 123456, "is_bot": True},
        }  # fmt: skip
        self.sent[message["message_id"]] = {**message, **given}
        return _ok(message)

    def _editMessageText(self, given: dict[str, Any]) -> JSONResponse:
        if (wrong := self._wrong(given)) is not None:
            return wrong
        found = self.sent.get(given.get("message_id", 0))
        if found is None:
            return _error(400, "Bad Request: message to edit not found")
        if found["text"] == given["text"] and found.get("reply_markup") == given.get("reply_markup"):
            return _error(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        found.update(given)
        return _ok({name: found[name] for name in ("message_id", "date", "chat", "text")})

    def _answerCallbackQuery(self, given: dict[str, Any]) -> JSONResponse:
        if not given.get("callback_query_id"):
            return _error(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self.answered.append(given)
        return _ok(True)

    def _wrong(self, given: dict[str, Any]) -> JSONResponse | None:
        text, chat = given.get("text", ""), given.get("chat_id")
        if chat in self.blocked:
            return _error(403, "Forbidden: bot was blocked by the user")
        if not isinstance(chat, int):
            return _error(400, "Bad Request: chat not found")
        if not text:
            return _error(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > _LIMIT:
            return _error(400, "Bad Request: message is too long")
        if given.get("parse_mode") == "MarkdownV2":
            for at, character in enumerate(text):
                if character in ".!-#+=|{}()>" and (at == 0 or text[at - 1] != "\\"):
                    return _error(
                        400, f"Bad Request: can't parse entities: Character '{character}' is reserved and must be "
                        "escaped with the preceding '\\'",
                    )  # fmt: skip
        return None


def _ok(result: Any, **more: Any) -> JSONResponse:
    return JSONResponse({"ok": True, "result": result, **more})


def _error(code: int, description: str, **parameters: Any) -> JSONResponse:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return JSONResponse(body, code)
