"""No secret is kept of a call: not in its error, not in its trace, not in its log, in whatever form it was written."""

from __future__ import annotations

import base64
import json
import random
import string
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from jackfield.invocation.redaction import WITHHELD, Redaction, SecretBook
from jackfield.telemetry import MASK

SECRET = 'p455 w/ö+rd&k="sup3r-s3cret!"'
OTHER = "0123456789abcdefghijklmnopqrstuv"


def knowing(*values: str) -> Redaction:
    book = SecretBook()
    book.learn("inst_1", values)
    return book.redaction("inst_1")


def as_json(value: str) -> str:
    return json.dumps(value)[1:-1]


FORMS = {
    "as it is": lambda s: s,
    "repr": repr,
    "bytes": lambda s: repr(s.encode()),
    "json": as_json,
    "json in unicode": lambda s: json.dumps(s, ensure_ascii=False),
    "hex": lambda s: s.encode().hex(),
    "HEX": lambda s: s.encode().hex().upper(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "url-safe base64": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "basic credentials": lambda s: base64.b64encode(b"ann:" + s.encode()).decode(),
    "base64 amid others": lambda s: base64.b64encode(b"<<" + s.encode() + b">>").decode(),
    "percent": quote,
    "percent, all": lambda s: quote(s, safe=""),
    "form": quote_plus,
}  # fmt: skip


def leaks(text: str, secret: str, size: int = 9) -> list[str]:
    """Parts of any form of a secret that are still in a text. Both ends of base64 are shared with what is beside it."""
    parts = {form(secret)[at : at + size] for form in FORMS.values() for at in range(2, len(form(secret)) - size - 2)}
    return [part for part in parts if part in text]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    redaction = knowing(SECRET, OTHER)
    for secret in (SECRET, OTHER):
        text = f"before {FORMS[form](secret)} after"
        told = redaction.text(text)
        assert leaks(text, secret)
        assert leaks(told, secret) == [], told
        assert told.startswith("before ")
        assert told.endswith(" after")
        assert MASK in told
    assert redaction.leaks >= 2


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=16, max_size=80),
    st.sampled_from([*FORMS]),
    st.text(st.sampled_from("xyz \n"), max_size=40),
    st.text(st.sampled_from("xyz \n"), max_size=40),
)
@example("aaaaaaaaaaaaaaaaaaaaaaaaab", "as it is", "a" * 30, "a" * 30)
def test_wherever_it_stands_it_is_found(secret: str, form: str, before: str, after: str) -> None:
    assume(len(set(secret)) > 1)
    redaction = knowing(secret)
    told = redaction.text(before + FORMS[form](secret) + after)
    assert secret not in told
    assert FORMS[form](secret) not in told
    assert redaction.leaks


def test_a_part_of_a_secret_is_found_too() -> None:
    redaction = knowing(OTHER)
    for start in range(len(OTHER) - 15):
        assert redaction.text(f"locals: key={OTHER[start : start + 15]!r}…") == f"locals: key='{MASK}'…"


def test_what_is_left_where_a_text_was_cut_is_masked() -> None:
    redaction = knowing(OTHER)
    told = redaction.text(OTHER[-8:] + " " + "x" * 2000 + " " + OTHER[:8])
    assert told == f"{MASK} {'x' * 2000} {MASK}"


def test_a_private_key_is_found_line_by_line() -> None:
    chance = random.Random(7)
    lines = ["".join(chance.choices(string.ascii_letters + string.digits + "+/", k=64)) for _ in range(24)]
    key = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(lines) + "\n-----END PRIVATE KEY-----\n"
    redaction = knowing(key)
    told = redaction.lines([("info", line, {}) for line in key.splitlines()])
    assert not any(line[8:40] in message for line in lines for _, message, _ in told)
    assert lines[3][4:60] not in redaction.text(repr(key))
    assert lines[3][4:60] not in redaction.text(json.dumps({"key": key}))


@pytest.mark.parametrize("pin", ["1", "77", "4711", "a b"])
def test_a_short_secret_is_masked_where_it_stands_by_itself(pin: str) -> None:
    redaction = knowing(pin)
    assert redaction.text(f"pin={pin}, x{pin}x") == f"pin={MASK}, x{pin}x"


def test_a_secret_of_figures_is_found_as_a_number() -> None:
    ((_, _, fields),) = knowing("123456").lines([("info", "", {"n": 123456, "m": 7, "f": 0.5, "b": True, "x": None})])
    assert fields == {"n": MASK, "m": 7, "f": 0.5, "b": True, "x": None}


def test_fields_are_masked_by_their_names_and_in_their_names() -> None:
    redaction = knowing(OTHER)
    ((level, message, fields),) = redaction.lines(
        [("error", f"sent {OTHER}", {"password": "x", OTHER: 1, "token_id": "tok_1", "note": f"<{OTHER}>"})]
    )
    assert (level, message) == ("error", f"sent {MASK}")
    assert fields == {"password": MASK, MASK: 1, "token_id": "tok_1", "note": f"<{MASK}>"}
    assert redaction.leaks == 4


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "whsec_abcdefgh12345678",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github_pat_11ABCDEFG0abcdefghijkl_mno",
        "xoxb-123456789012-abcdefghijkl", "AKIAIOSFODNN7EXAMPLE", "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc", "sk-proj-abcdefghijklmnop1234",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
        "postgresql://ann:hunter2@db/shop", "password = 'hunter22'", "api_key=abc123def", '"token": "a1b2c3d4"',
        "jf_owner_" + "h2" * 20,
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_masked_without_being_known(text: str) -> None:
    redaction = Redaction(None)
    told = redaction.text(f"failed: {text}")
    assert MASK in told
    assert redaction.leaks == 1
    assert not any(part in told for part in ("hunter", "MIIE", "abc123", "4eC39", "IOSFOD", "QXMEN", "h2h2"))


@pytest.mark.parametrize(
    "text",
    [
        "invalid token: expired", "token = get_token(customer)", "no such customer: cus_123", "KeyError: 'points'",
        "File \"plugin.py\", line 12, in award", "https://example.com/a?b=c", "idempotency key: order-12345678",
        "bearer of bad news", "basic authorization failed", "task-queue-for-the-next-morning", "password: required",
    ],
)  # fmt: skip
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    redaction = knowing(SECRET)
    assert redaction.text(text) == text
    assert redaction.leaks == 0


def test_one_installations_secrets_are_looked_for_in_its_texts_alone() -> None:
    book = SecretBook()
    book.learn("inst_1", [OTHER])
    assert book.redaction("inst_2").text(OTHER) == OTHER
    assert book.redaction("inst_1").text(OTHER) == MASK


def test_what_was_revealed_before_is_still_looked_for() -> None:
    book = SecretBook()
    book.learn("inst_1", [OTHER])
    book.redaction("inst_1")
    book.learn("inst_1", ["another-secret-of-theirs"])
    assert book.redaction("inst_1").text(f"{OTHER} another-secret-of-theirs") == f"{MASK} {MASK}"


def test_more_than_can_be_looked_for_withholds_everything() -> None:
    redaction = knowing("x1" * 3000)
    assert redaction.text("harmless") == WITHHELD
    assert redaction.leaks == 1


@pytest.mark.parametrize("piece", [OTHER[:8], OTHER[:14] + "-", OTHER, "a", "a" * 14 + "b"])
def test_a_text_full_of_them_takes_no_longer_and_tells_nothing(piece: str) -> None:
    redaction = knowing(OTHER, "a" * 400, ("ab" * 7 + "c") * 20)
    told = redaction.text(piece * (64_000 // len(piece)))
    assert OTHER[:9] not in told


data: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(data, st.text(min_size=0, max_size=12))
@example(["abc def"], "\\")
@example(["abc def"], "")
def test_any_data_can_be_searched_for_anything(value: Any, secret: str) -> None:
    redaction = knowing(secret, OTHER)
    assert OTHER not in repr(redaction.data([value, OTHER, {OTHER: value}]))
