"""A write that is repeated with the same Idempotency-Key is carried out once. The store is the real one, on a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from jackfield.db import Database
from jackfield.errors import UnavailableError
from jackfield.http import BodyLimitMiddleware, Caller, IdempotencyMiddleware, MemberCaller
from jackfield.tenants import SqlAnswers
from tests.server.conftest import KnownCallers, ManualClock, application, client

CALLERS = KnownCallers(
    {
        "ann": Caller("owner", tenant_id="acme", member_id="mem_ann", token_id="tok_1"),
        "ann-elsewhere": Caller("owner", tenant_id="acme", member_id="mem_ann", token_id="tok_9"),
        "bob": Caller("owner", tenant_id="acme", member_id="mem_bob", token_id="tok_2"),
        "cid": Caller("owner", tenant_id="other", member_id="mem_ann", token_id="tok_3"),
    }
)


class Till:
    """Counts what took effect."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.sales = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.is_busy = True
        router = APIRouter()

        @router.post("/sales")
        @router.put("/sales")
        async def sell(_caller: MemberCaller, request: Request) -> Response:
            self.sales += 1
            body = await request.body()
            return JSONResponse(
                {"sale": self.sales, "bytes": len(body)}, 201, {"Location": f"/sales/{self.sales}", "Set-Cookie": "a=b"}
            )

        @router.get("/sales")
        async def look(_caller: MemberCaller) -> int:
            return self.sales

        @router.post("/slow")
        async def slow(_caller: MemberCaller) -> int:
            self.sales += 1
            self.entered.set()
            await self.go_on.wait()
            return self.sales

        @router.post("/defect")
        async def defect(_caller: MemberCaller) -> None:
            self.sales += 1
            raise ZeroDivisionError

        @router.post("/flaky")
        async def flaky(_caller: MemberCaller) -> int:
            if self.is_busy:
                raise UnavailableError("not now")
            self.sales += 1
            return self.sales

        @router.post("/secret")
        async def secret(_caller: MemberCaller) -> Response:
            self.sales += 1
            return JSONResponse({"token": "hunter2"}, 201, {"Cache-Control": "no-store"})

        @router.post("/large")
        async def large(_caller: MemberCaller) -> StreamingResponse:
            self.sales += 1
            return StreamingResponse(iter([b"x" * 400_000] * 4))

        @router.post("/streamed")
        async def streamed(_caller: MemberCaller, request: Request) -> int:
            self.sales += 1
            return len([chunk async for chunk in request.stream() if chunk])

        @router.post("/refused")
        async def refused(_caller: MemberCaller) -> Response:
            self.sales += 1
            return JSONResponse({"code": "user-error"}, 422)

        self.answers = SqlAnswers(database, clock)
        app = application(CALLERS, router)
        self.app = BodyLimitMiddleware(
            IdempotencyMiddleware(app, CALLERS, self.answers, streamed={"/streamed"}), 10_000
        )


@pytest.fixture
def till(database: Database, clock: ManualClock) -> Till:
    return Till(database, clock)


async def post(till: Till, path: str, key: str, token: str | None = "ann", body: bytes = b"{}") -> httpx.Response:
    async with client(till.app, token) as http:
        return await http.post(path, content=body, headers={"Idempotency-Key": key})


async def test_the_repetition_gets_the_same_answer_and_has_no_effect(till: Till) -> None:
    first = await post(till, "/sales", "k1")
    again = await post(till, "/sales", "k1")
    assert (first.status_code, again.status_code, till.sales) == (201, 201, 1)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers


async def test_a_body_that_is_streamed_is_not_held(till: Till) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100

    async with client(till.app, "ann") as http:
        answer = await http.post("/streamed", content=chunks(), headers={"Idempotency-Key": "k"})
    assert answer.json() == 3, "the handler sees the chunks as they come"
    assert (await post(till, "/streamed", "k")).json() == 1
    assert till.sales == 2


async def test_without_a_key_each_request_counts(till: Till) -> None:
    async with client(till.app, "ann") as http:
        await http.post("/sales")
        await http.post("/sales")
    assert till.sales == 2


async def test_reading_pays_no_attention_to_keys(till: Till) -> None:
    async with client(till.app, "ann") as http:
        assert (await http.get("/sales", headers={"Idempotency-Key": "k1"})).json() == 0
        await http.post("/sales")
        assert (await http.get("/sales", headers={"Idempotency-Key": "k1"})).json() == 1


@pytest.mark.parametrize(("method", "path", "body"), [
    ("POST", "/sales", b"{ }"), ("PUT", "/sales", b"{}"), ("POST", "/sales?x=1", b"{}"), ("POST", "/flaky", b"{}"),
])  # fmt: skip
async def test_a_key_belongs_to_one_request(till: Till, method: str, path: str, body: bytes) -> None:
    await post(till, "/sales", "k1")
    async with client(till.app, "ann") as http:
        answer = await http.request(method, path, content=body, headers={"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"], till.sales) == (422, "idempotency-key-reused", 1)


async def test_a_key_belongs_to_one_caller_whatever_their_token(till: Till) -> None:
    for token in ("ann", "bob", "cid"):
        assert "idempotency-replayed" not in (await post(till, "/sales", "k1", token)).headers
    assert "idempotency-replayed" in (await post(till, "/sales", "k1", "ann-elsewhere")).headers
    assert till.sales == 3


async def test_while_the_first_runs_a_second_is_told_to_wait(till: Till) -> None:
    first = asyncio.create_task(post(till, "/slow", "k1"))
    await till.entered.wait()
    second = await post(till, "/slow", "k1")
    assert (second.status_code, second.json()["code"]) == (409, "idempotency-key-busy")
    assert int(second.headers["retry-after"]) >= 1
    till.go_on.set()
    assert (await first).json() == 1
    assert (await post(till, "/slow", "k1")).json() == 1
    assert till.sales == 1


async def test_of_many_at_once_exactly_one_takes_effect(till: Till) -> None:
    answers = await asyncio.gather(*(post(till, "/sales", "k1") for _ in range(20)))
    assert till.sales == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["sale"] for answer in answers if answer.status_code == 201} == {1}


async def test_a_defect_half_way_leaves_the_outcome_unknown_and_is_not_tried_again(till: Till) -> None:
    assert (await post(till, "/defect", "k1")).status_code == 500
    again = await post(till, "/defect", "k1")
    assert (again.status_code, again.json()["code"], till.sales) == (409, "idempotency-outcome-unknown", 1)


async def test_after_the_node_died_in_the_middle_the_outcome_is_unknown(till: Till, clock: ManualClock) -> None:
    dying = asyncio.create_task(post(till, "/slow", "k1"))
    await till.entered.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await post(till, "/slow", "k1")).json()["code"] == "idempotency-key-busy"
    clock.advance(301)
    assert (await post(till, "/slow", "k1")).json()["code"] == "idempotency-outcome-unknown"
    assert till.sales == 1


async def test_a_platform_on_one_node_knows_at_its_start_that_nothing_is_running(till: Till) -> None:
    dying = asyncio.create_task(post(till, "/slow", "k1"))
    await till.entered.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await till.answers.give_up_all()
    assert (await post(till, "/slow", "k1")).json()["code"] == "idempotency-outcome-unknown"


async def test_a_refusal_for_the_moment_gives_the_key_back(till: Till) -> None:
    assert (await post(till, "/flaky", "k1")).status_code == 503
    till.is_busy = False
    assert (await post(till, "/flaky", "k1")).json() == 1
    assert (await post(till, "/flaky", "k1")).json() == 1


async def test_a_failure_that_the_work_ended_with_is_kept(till: Till) -> None:
    assert (await post(till, "/refused", "k1")).status_code == 422
    assert (await post(till, "/refused", "k1")).status_code == 422
    assert till.sales == 1


@pytest.mark.parametrize("path", ["/secret", "/large"])
async def test_an_answer_with_a_secret_or_of_great_size_is_not_kept_but_the_effect_is_known(
    till: Till, database: Database, path: str
) -> None:
    first = await post(till, path, "k1")
    assert first.is_success
    assert len(first.content) == 1_600_000 or first.json() == {"token": "hunter2"}
    again = await post(till, path, "k1")
    assert (again.status_code, again.json()["code"], till.sales) == (409, "idempotency-answer-gone", 1)
    assert again.json()["first_status"] == first.status_code
    await database.close()
    assert b"hunter2" not in await asyncio.to_thread(_file_bytes, database)


def _file_bytes(database: Database) -> bytes:
    from pathlib import Path

    path = Path(database.url.removeprefix("sqlite+aiosqlite:///"))
    return b"".join(part.read_bytes() for part in path.parent.glob(path.name + "*"))


async def test_a_caller_we_do_not_know_reserves_nothing(till: Till) -> None:
    assert (await post(till, "/sales", "k1", token=None)).status_code == 401
    assert (await post(till, "/sales", "k1", token="nobody")).status_code == 401
    assert (await post(till, "/sales", "k1")).status_code == 201


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "\x7f"])
async def test_a_header_that_cannot_be_a_key_is_refused(till: Till, key: str) -> None:
    answer = await post(till, "/sales", key)
    assert (answer.status_code, answer.json()["code"], till.sales) == (422, "idempotency-key-invalid", 0)


async def test_a_body_over_the_limit_is_refused_and_reserves_nothing(till: Till) -> None:
    assert (await post(till, "/sales", "k1", body=b"x" * 10_001)).status_code == 413
    assert (await post(till, "/sales", "k1")).status_code == 201


async def test_keys_are_forgotten_after_a_day(till: Till, clock: ManualClock) -> None:
    await post(till, "/sales", "k1")
    clock.advance(timedelta(hours=24).total_seconds())
    assert "idempotency-replayed" not in (await post(till, "/sales", "k1")).headers
    assert till.sales == 2
