"""Lists page by cursor."""

from __future__ import annotations

import base64
import contextlib

import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st

from jackfield.http import CursorInvalidError, Page, PageParams, cut, decode_cursor, encode_cursor
from tests.server.conftest import KnownCallers, application, client

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
router = APIRouter()


@router.get("/numbers")
async def numbers(page: PageParams) -> Page[int]:
    after = decode_cursor(page.cursor, int)[0] if page.cursor else -1
    found = cut([n for n in range(10) if n > after][: page.limit + 1], page.limit, lambda n: (n,))
    return Page[int](items=found.items, next_cursor=found.next_cursor)


APP = application(KnownCallers({}), router)


async def test_following_the_cursors_visits_every_item_once() -> None:
    seen: list[int] = []
    cursor: str | None = None
    async with client(APP) as http:
        for _ in range(20):
            params = {"limit": "3"} if cursor is None else {"limit": "3", "cursor": cursor}
            page = (await http.get("/numbers", params=params)).json()
            seen += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert seen == list(range(10))


async def test_a_full_last_page_has_no_next_one() -> None:
    async with client(APP) as http:
        assert (await http.get("/numbers", params={"limit": 10})).json()["next_cursor"] is None


@pytest.mark.parametrize("limit", ["0", "-1", "201", "many"])
async def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    async with client(APP) as http:
        answer = await http.get("/numbers", params={"limit": limit})
    assert (answer.status_code, answer.json()["code"]) == (422, "request-invalid")


@pytest.mark.parametrize(
    "cursor",
    [
        "!", "é", "AAAA", "W10", encode_cursor("text"), encode_cursor(1, 2), encode_cursor(1.5), "A" * 512, "W3RydWVd",
        encode_cursor(2**63),
    ],
)  # fmt: skip
async def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    async with client(APP) as http:
        answer = await http.get("/numbers", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor-invalid")


@given(st.tuples(TEXTS, st.integers(1 - 2**63, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_cursor_gives_back_what_was_put_in(parts: tuple[str, int, float]) -> None:
    assert tuple(decode_cursor(encode_cursor(*parts), str, int, float)) == parts


@given(st.binary(max_size=64))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with contextlib.suppress(CursorInvalidError):
        decode_cursor(base64.urlsafe_b64encode(raw).decode(), str, int)
