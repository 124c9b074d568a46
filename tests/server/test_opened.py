"""Secrets that are open in the work at hand are in no warning and no error, whoever wrote the text."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import time
from collections.abc import Iterator

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities import Vault
from jackfield.capabilities.envelope import Envelope
from jackfield.capabilities.secrets import attach_vault
from jackfield.capabilities.vault import parse_keys
from jackfield.db import Database
from jackfield.http.caller import bearer_token
from jackfield.opened import opened, opening, places
from jackfield.telemetry import MASK, bound, configure
from tests.server.capabilities.installations import KEYS

BOT = "8123456789:BBF-not_like_one_of_theirs"
WEBHOOK = "correct horse/battery+staple"
TOKENS = json.dumps({"access": "opaque-access-1", "refresh": "opaque-refresh-1", "expires_at": 1.0})
_log = structlog.stdlib.get_logger("x")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    configure(form="json", stream=stream)
    yield stream
    root.handlers, root.level = before
    structlog.reset_defaults()


@pytest.fixture
def envelope(database: Database) -> Envelope:
    return attach_vault(database, Vault(parse_keys(KEYS)))


async def held(database: Database, envelope: Envelope) -> dict[str, str]:
    """One secret of each kind, sealed in a context that ends: a field, a bot, a signature, an OAuth2 connection."""
    values = {"api_key": "hunter22", "channel": BOT, "webhook": WEBHOOK, "connection:crm:tokens": TOKENS}

    async def seal() -> dict[str, str]:
        async with database.write("acme") as session:
            return {name: await envelope.seal(session, "acme", "echo", name, value) for name, value in values.items()}

    return await asyncio.create_task(seal())


async def test_no_kind_of_secret_is_repeated_by_an_error_of_somebody_else(
    logged: io.StringIO, database: Database, envelope: Envelope
) -> None:
    sealed = await held(database, envelope)

    async def request() -> None:
        bearer = bearer_token("Bearer a-host's-own-kind-of-token")
        with bound(tenant_id="acme"):
            for name, token in sealed.items():
                await envelope.open(token, "acme", "echo", name)
            try:
                async with httpx.AsyncClient(trust_env=False) as http:
                    answer = httpx.Response(401, request=http.build_request("GET", f"http://127.0.0.1/bot{BOT}/getMe"))
                    answer.raise_for_status()
            except httpx.HTTPStatusError as error:
                _log.exception("telegram-failed")
                _log.warning("telegram-failed", error=error)
                logging.getLogger("their.library").error("said %s", error)
            basic = base64.b64encode(b"ann:hunter22").decode()
            _log.warning("refused", why=f"Basic {basic}", seen={"hunter22": ["opaque-access-1", b"opaque-refresh-1"]})
            _log.error("refused", bearer=bearer, text=f"{bearer} {WEBHOOK}", path="correct%20horse%2Fbattery%2Bstaple")

    await asyncio.create_task(request())
    text = logged.getvalue()
    assert len(text.splitlines()) == 5
    for secret in ("not_like_one", "hunter22", "own-kind-of", "correct", "staple", "opaque", "YW5uOmh1bnRlcjIy"):
        assert secret not in text
    assert text.count(MASK) >= 8
    assert "HTTPStatusError" in text
    assert "127.0.0.1" in text


async def test_what_is_open_for_one_masks_nothing_for_another(logged: io.StringIO) -> None:
    async def work(secret: str, other: str) -> None:
        with bound(tenant_id=secret):
            opened(secret)
            await asyncio.sleep(0)
            _log.warning("worked", text=f"{secret} {other}")

    await asyncio.gather(work("secret-of-a", "secret-of-b"), work("secret-of-b", "secret-of-a"))
    texts = [json.loads(line)["text"] for line in logged.getvalue().splitlines()]
    assert texts == [f"{MASK} secret-of-b", f"{MASK} secret-of-a"]


async def test_tasks_of_one_piece_of_work_share_it_and_it_ends_with_the_work() -> None:
    async def opens() -> None:
        opened("a-long-secret")

    with opening():
        await asyncio.create_task(opens())
        assert places("see a-long-secret") == [(4, 17)]
        with opening():
            assert places("a-long-secret")
    assert places("a-long-secret") == []

    def fails() -> None:
        with opening():
            opened("a-long-secret")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert places("a-long-secret"), "whoever catches the error writes it down"
    with opening():
        assert not places("a-long-secret"), "what the same task does next is other work"


def test_a_short_one_is_masked_as_a_word_and_one_of_three_characters_not_at_all() -> None:
    with opening():
        opened("4711")
        opened("abc")
        assert places("pin=4711, order 147110, abc") == [(4, 8)]


def test_a_context_remembers_so_many_and_no_more() -> None:
    with opening():
        for number in range(300):
            opened(f"secret-number-{number}")
        assert not places("secret-number-43.")
        assert places("secret-number-44.")


def test_what_is_within_a_secret_does_not_make_lines_slow(logged: io.StringIO) -> None:
    """A secret has up to 16 KiB, and an installation 64 of them."""
    with opening():
        for number in range(64):
            opened(json.dumps([f"{number:02}/{part:05}" for part in range(1500)]))
        begun = time.process_time()
        assert places("00/00007 and 00/00511")
        assert time.process_time() - begun < 2, "10 s, were all looked for"
        opened("a-long-secret")
        assert places("a-long-secret"), "each is looked for as a whole"


def test_whoever_asks_chooses_no_word_that_is_missing_in_what_is_written_of_it(logged: io.StringIO) -> None:
    with bound(tenant_id="acme"):
        bearer_token("Bearer refused")
        bearer_token("Bearer refused-for-good-reasons")
        opened("level")
        _log.warning("refused", error="refused-for-good-reasons", level_of_it="level")
    line = json.loads(logged.getvalue())
    assert (line["event"], line["error"], line["level"], line["level_of_it"]) == ("refused", MASK, "warning", MASK)


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=40).filter(str.strip), st.text(max_size=20))
def test_any_secret_is_found_as_it_is_and_escaped(secret: str, around: str) -> None:
    with opening():
        opened(secret)
        for text in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.encode().hex()):
            start = len(around)
            assert any(begin <= start and start + len(text) <= end for begin, end in places(around + text + around))


def test_figures_are_masked_as_the_number_that_they_are(logged: io.StringIO) -> None:
    with opening():
        opened("80124711")
        _log.warning("odd", pin=80124711, count=3)
    line = json.loads(logged.getvalue())
    assert (line["pin"], line["count"]) == (MASK, 3)


def test_an_object_in_a_field_is_looked_at_as_the_text_that_it_becomes(logged: io.StringIO) -> None:
    _log.info("odd", error=ValueError("Bearer " + "t0ken" * 8), where=os.fspath)
    assert "t0ken" not in logged.getvalue()
    assert "ValueError" in logged.getvalue()
