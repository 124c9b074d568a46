"""Logs of the platform: structured, with the ids of whose work is done, without secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jackfield.telemetry import MASK, bound, configure, redact


@pytest.fixture
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged, in the form that the test asks for."""
    form: Literal["console", "json"] = getattr(request, "param", "json")
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    configure(form=form, stream=stream)
    yield stream
    root.handlers, root.level = before
    structlog.reset_defaults()


def last(logged: io.StringIO) -> dict[str, Any]:
    return json.loads(logged.getvalue().splitlines()[-1])


def test_a_line_is_json_with_time_level_and_name(logged: io.StringIO) -> None:
    structlog.stdlib.get_logger("jackfield.test").info("plugin-installed", version="1.0.0")
    line = last(logged)
    assert (line["event"], line["level"], line["logger"], line["version"]) == (
        "plugin-installed", "info", "jackfield.test", "1.0.0",
    )  # fmt: skip
    assert line["timestamp"].endswith("Z")


async def test_lines_carry_the_ids_of_the_work_they_belong_to(logged: io.StringIO) -> None:
    log = structlog.stdlib.get_logger("x")

    async def work(tenant: str) -> None:
        with bound(tenant_id=tenant, plugin="echo", invocation_id=f"inv_{tenant}"):
            await asyncio.sleep(0)
            log.info("worked", of=tenant)

    await asyncio.gather(work("a"), work("b"))
    log.info("after")
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    for line in lines[:2]:
        assert (line["tenant_id"], line["invocation_id"], line["plugin"]) == (line["of"], f"inv_{line['of']}", "echo")
    assert "tenant_id" not in lines[2]


def test_other_libraries_lines_come_the_same_way(logged: io.StringIO) -> None:
    with bound(tenant_id="acme"):
        logging.getLogger("sqlalchemy").warning("slow %s", "query")
    line = last(logged)
    assert (line["event"], line["logger"], line["tenant_id"]) == ("slow query", "sqlalchemy", "acme")


@pytest.mark.parametrize("logged", ["json", "console"], indirect=True)
def test_secrets_are_masked_wherever_they_stand(logged: io.StringIO) -> None:
    token = "jf_owner_" + "h2" * 20
    log = structlog.stdlib.get_logger("x")
    log.info("configured", api_key="hunter2", config={"webhook": [{"clientSecret": "hunter2"}]}, note=f"used {token}")
    try:
        raise ValueError(f"https://ann:hunter2@example.com refused Bearer {token}")
    except ValueError:
        log.exception("failed", Authorization="hunter2")
    logging.getLogger("uvicorn").info("GET /?token=%s", token)
    text = logged.getvalue()
    assert "hunter2" not in text
    assert "h2h2" not in text
    assert text.count(MASK) >= 6
    assert "ValueError" in text


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "apiKey", "api-key", "APIKey", "X-Auth-Token", "secret", "clientSecret",
     "Authorization", "Cookie", "private_key", "accessKey", "signature", "credentials", "apikey", "JWT"],
)  # fmt: skip
def test_keys_that_name_a_secret_are_known(key: str) -> None:
    assert redact({key: "x"}) == {key: MASK}


@pytest.mark.parametrize(
    "key",
    ["token_id", "secret_names", "keyboard", "idempotency_key", "tokenizer", "primary_key", "opinion",
     "password_set_at", "tokens_count", "cookies_ok", "name", "", "🔑"],
)  # fmt: skip
def test_keys_that_only_sound_like_one_are_left_alone(key: str) -> None:
    assert redact({key: "x"}) == {key: "x"}


def test_that_a_secret_is_absent_is_no_secret() -> None:
    assert redact({"password": None}) == {"password": None}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=20,
)


@given(plain)
def test_any_plain_data_can_be_redacted_and_twice_is_as_good_as_once(data: Any) -> None:
    once = redact(data)
    assert redact(once) == once


def test_data_without_end_is_cut_off() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    assert MASK in repr(redact(loop))


@pytest.mark.parametrize("logged", ["json", "console"], indirect=True)
def test_what_somebody_else_wrote_makes_no_line_of_its_own(logged: io.StringIO) -> None:
    log = structlog.stdlib.get_logger("x")
    log.info("installed", name="a\n2026-01-01 [info] forged\x1b[2J\r\u2028b")
    logging.getLogger("other").warning("said %s", "a\nforged\x9b2J")
    lines = logged.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_each_line_has_what_the_process_adds() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    before = (root.handlers, root.level)
    try:
        configure(form="json", stream=stream, level=logging.WARNING, fields=lambda: {"node": "node_1"})
        structlog.stdlib.get_logger("x").warning("a")
        # Not `uvicorn`, whose logger has handlers of its own once a test has run a server.
        logging.getLogger("somebody").warning("b")
        logging.getLogger("somebody").info("too little")
    finally:
        root.handlers, root.level = before
        structlog.reset_defaults()
    assert [json.loads(line)["node"] for line in stream.getvalue().splitlines()] == ["node_1", "node_1"]
