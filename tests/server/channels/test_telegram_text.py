"""Texts cut into messages, and updates read."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.channels.telegram_text import length, parts
from jackfield.channels.telegram_updates import read_update
from jackfield_sdk.capabilities.gateways import Gateways


@given(st.text(alphabet=st.sampled_from("ab \n😀é"), max_size=300))
def test_no_part_is_too_long_and_nothing_but_space_is_lost(text: str) -> None:
    found = parts(text, 20)
    assert all(length(part) <= 20 for part in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_text_is_cut_where_a_line_ends() -> None:
    assert parts("aaaaaaaaaaaa\nbbbbbbbbbbbb", 20) == ["aaaaaaaaaaaa", "bbbbbbbbbbbb"]
    assert parts("short", 20) == ["short"]
    assert length("😀") == 2


def test_an_escaped_text_means_itself() -> None:
    assert Gateways.escape("1.5 (a_b)!") == "1\\.5 \\(a\\_b\\)\\!"


@pytest.mark.parametrize(
    "update", [None, [], {}, {"update_id": "1"}, {"update_id": True}, {"update_id": 1, "poll": {}}]
)
def test_what_is_no_message_is_nothing(update: Any) -> None:
    assert read_update(update, "chn_1") is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["message_id", "chat", "id", "from", "text", "date", "photo"]), inner, max_size=5
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_a_message_is_it_is_read_or_refused(message: Any) -> None:
    with contextlib.suppress(msgspec.ValidationError):
        read_update({"update_id": 1, "message": message}, "chn_1")
