"""A body over the limit is refused while it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import StreamingResponse

from jackfield.http import BodyLimitMiddleware
from tests.server.conftest import KnownCallers, application, client

LIMIT = 1000
router = APIRouter()


@router.post("/count")
@router.post("/upload")
async def count(request: Request) -> int:
    return len(await request.body())


@router.post("/json")
async def parsed(body: dict[str, str]) -> int:
    return len(body)


@router.post("/early")
async def early(request: Request) -> StreamingResponse:
    async def answer() -> AsyncIterator[bytes]:
        yield b"begun"
        async for _ in request.stream():
            pass

    return StreamingResponse(answer())


APP = BodyLimitMiddleware(application(KnownCallers({}), router), LIMIT, {"/upload": 5 * LIMIT})


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 100):
        yield b"x" * 100


async def test_a_body_up_to_the_limit_passes() -> None:
    async with client(APP) as http:
        assert (await http.post("/count", content=b"x" * LIMIT)).json() == LIMIT
        assert (await http.post("/count", content=chunks(LIMIT))).json() == LIMIT


@pytest.mark.parametrize("path", ["/count", "/json"])
async def test_an_announced_body_over_the_limit_is_refused(path: str) -> None:
    async with client(APP) as http:
        answer = await http.post(path, content=b"x" * (LIMIT + 1))
    assert (answer.status_code, answer.json()["code"], answer.json()["limit_bytes"]) == (413, "body-too-large", LIMIT)


@pytest.mark.parametrize("path", ["/count", "/json"])
async def test_a_streamed_body_over_the_limit_is_refused_without_reading_on(path: str) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield b"x" * 100

    async with client(APP) as http:
        answer = await http.post(path, content=endless(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert taken < 20


@pytest.mark.parametrize("announced", ["10", "-1", "lots"])
async def test_a_lie_about_the_length_changes_nothing(announced: str) -> None:
    async with client(APP) as http:
        answer = await http.post("/count", content=chunks(2 * LIMIT), headers={"content-length": announced})
    assert answer.status_code == 413


async def test_a_path_may_have_a_limit_of_its_own_also_below_a_mount() -> None:
    host = FastAPI()
    host.mount("/plugins", APP)
    async with client(host) as http:
        assert (await http.post("/plugins/upload", content=chunks(4 * LIMIT))).json() == 4 * LIMIT
        assert (await http.post("/plugins/upload", content=chunks(6 * LIMIT))).status_code == 413
        assert (await http.post("/plugins/count", content=chunks(4 * LIMIT))).status_code == 413


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    transport = httpx.ASGITransport(app=APP, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  # a group or the error itself, as the framework likes
            await http.post("/early", content=chunks(2 * LIMIT))
    assert "over 1000 bytes" in repr(caught.value)
