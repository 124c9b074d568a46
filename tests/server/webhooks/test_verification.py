"""Who sent a webhook: against the vectors of the schemes' own documents, Stripe's own library, and forgers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import Webhook as StripeWebhook
from stripe import WebhookSignature

from jackfield.webhooks import candidates, receipt_key, refusal, signature
from jackfield.webhooks.signing import key_of, new_secret

NOW = datetime.fromtimestamp(1614265330, UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}  # fmt: skip


def standard(**changes: str) -> dict[str, str]:
    return {**STANDARD, **{f"webhook-{name}": value for name, value in changes.items()}}


def test_the_published_vector_of_standard_webhooks_is_signed_and_verified() -> None:
    id, moment, given = STANDARD.values()
    assert signature(SECRET, id, moment, BODY) == given
    assert signature(SECRET.removeprefix("whsec_"), id, moment, BODY) == given, "the prefix is for people"
    assert refusal("standard-webhooks", STANDARD, BODY, [SECRET], NOW) is None


def test_a_new_secret_has_256_bits() -> None:
    assert new_secret() != new_secret()
    assert len(key_of(new_secret())) == 32


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        (STANDARD, BODY + b" ", "signature-mismatch"),
        (standard(id="msg_other"), BODY, "signature-mismatch"),
        (standard(timestamp="1614265331"), BODY, "signature-mismatch"),
        (standard(signature="v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY, "signature-mismatch"),
        (standard(signature="v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), BODY, "signature-mismatch"),
        (standard(signature="v1,"), BODY, "signature-mismatch"),
        (standard(signature="v1,\udcff"), BODY, "signature-mismatch"),
        (standard(signature=""), BODY, "signature-missing"),
        (standard(timestamp="1614264000"), BODY, "time-out-of-tolerance"),
        (standard(timestamp="1614266000"), BODY, "time-out-of-tolerance"),
        (standard(timestamp="-1614265330"), BODY, "time-invalid"),
        (standard(timestamp="1614265330.0"), BODY, "time-invalid"),
        (standard(timestamp="9" * 400), BODY, "time-invalid"),
        (standard(timestamp="١٦١٤٢٦٥٣٣٠"), BODY, "time-invalid"),
        (standard(id="x" * 9000), BODY, "signature-mismatch"),
        ({}, BODY, "signature-missing"),
    ],
)  # fmt: skip
def test_a_forged_standard_webhook_is_refused(headers: dict[str, str], body: bytes, why: str) -> None:
    assert refusal("standard-webhooks", headers, body, [SECRET], NOW) == why


def test_one_good_signature_among_others_is_enough_and_any_active_secret_will_do() -> None:
    given = f"v1a,AAAA v1,{'A' * 43}= {STANDARD['webhook-signature']}"
    assert refusal("standard-webhooks", standard(signature=given), BODY, [new_secret(), SECRET], NOW) is None
    many = " ".join(["v1,AAAA"] * 40 + [STANDARD["webhook-signature"]])
    assert refusal("standard-webhooks", standard(signature=many), BODY, [SECRET], NOW) == "signature-mismatch"


@pytest.mark.parametrize("secret", ["whsec_", "no base64!", "whsec_a"])
def test_a_secret_that_is_no_key_lets_nobody_in(secret: str) -> None:
    assert refusal("standard-webhooks", STANDARD, BODY, [secret], NOW) in ("secret-invalid", "secret-not-set")


@pytest.mark.parametrize("scheme", ["hmac-sha256", "standard-webhooks", "stripe", "telegram", "github"])
def test_without_a_secret_nobody_comes_in(scheme: Any) -> None:
    empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    headers = {
        **STANDARD, "x-signature": empty, "x-hub-signature-256": f"sha256={empty}",
        "x-telegram-bot-api-secret-token": "", "stripe-signature": f"t=1614265330,v1={empty}",
    }  # fmt: skip
    for secrets in ([], [""]):
        assert refusal(scheme, headers, BODY, secrets, NOW) == "secret-not-set"


def test_what_stripes_own_library_signs_is_taken() -> None:
    payload = json.dumps({"id": "evt_1", "object": "event"})
    moment = int(NOW.timestamp())
    signed = WebhookSignature._compute_signature(f"{moment}.{payload}", "whsec_stripe")  # pyright: ignore[reportPrivateUsage]  # it has no other that signs
    headers = {"stripe-signature": f"t={moment},v1={'0' * 64},v1={signed},v0=abc"}
    assert refusal("stripe", headers, payload.encode(), ["whsec_stripe"], NOW) is None
    # And what we take, it takes.
    assert WebhookSignature.verify_header(payload, headers["stripe-signature"], "whsec_stripe")
    assert StripeWebhook.DEFAULT_TOLERANCE == 300
    late = NOW + timedelta(seconds=301)
    assert refusal("stripe", headers, payload.encode(), ["whsec_stripe"], late) == "time-out-of-tolerance"
    for forged in (f"t={moment + 1},v1={signed}", f"t={moment},v0={signed}", f"v1={signed}", signed, "t=,v1="):
        assert refusal("stripe", {"stripe-signature": forged}, payload.encode(), ["whsec_stripe"], NOW) is not None


def test_the_example_in_githubs_documentation_is_taken() -> None:
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    given = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert refusal("github", {"x-hub-signature-256": given}, body, candidates(secret), NOW) is None
    assert refusal("github", {"x-hub-signature-256": given[7:]}, body, [secret], NOW) == "signature-mismatch"
    assert refusal("github", {"x-hub-signature": given}, body, [secret], NOW) == "signature-missing"


def test_telegram_sends_the_secret_itself() -> None:
    headers = {"x-telegram-bot-api-secret-token": "tele-gram_1"}
    assert refusal("telegram", headers, b"{}", ["tele-gram_1"], NOW) is None
    assert refusal("telegram", headers, b"{}", ["tele-gram_2"], NOW) == "signature-mismatch"
    assert refusal("telegram", {}, b"{}", ["tele-gram_2"], NOW) == "signature-missing"


@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_plain_hmac_is_in_hex_or_base64_in_the_header_that_the_release_names(prefix: str) -> None:
    digest = hmac.new(b"key", BODY, hashlib.sha256)
    for sent in (digest.hexdigest(), digest.hexdigest().upper(), base64.b64encode(digest.digest()).decode()):
        assert refusal("hmac-sha256", {"x-shop-hmac": prefix + sent}, BODY, ["key"], NOW, "X-Shop-Hmac") is None
        assert refusal("hmac-sha256", {"x-signature": prefix + sent}, BODY, ["key"], NOW) is None
        assert refusal("hmac-sha256", {"x-signature": sent}, BODY, ["kez"], NOW) == "signature-mismatch"
        assert refusal("hmac-sha256", {"x-signature": sent}, BODY, ["key"], NOW, "x-other") == "signature-missing"


def test_two_secrets_may_be_entered_while_a_sender_replaces_its_own() -> None:
    assert candidates("old new") == ("old new", "old", "new")
    assert candidates(" one\n") == ("one",)
    headers = {"x-telegram-bot-api-secret-token": "new"}
    assert refusal("telegram", headers, b"", candidates("old new"), NOW) is None


def test_what_a_sender_calls_it_is_what_it_is_known_by() -> None:
    stripe = b'{"id": "evt_1", "a": 1}'
    assert receipt_key("stripe", {}, {}, stripe) == receipt_key("stripe", {}, {}, b'{"id": "evt_1", "a": 2}')
    assert receipt_key("stripe", {}, {}, stripe)[1]
    assert receipt_key("telegram", {}, {}, b'{"update_id": 7}')[1]
    assert receipt_key("github", {"x-github-delivery": "a"}, {}, b"")[1]
    assert receipt_key("standard-webhooks", STANDARD, {}, BODY)[1]
    odd = (b"", b"null", b"[1]", b'{"id": 7}', b'{"id": ""}', b"\xff", b"[" * 100_000, b'{"id": "' + b"x" * 300 + b'"}')
    for body in odd:
        assert not receipt_key("stripe", {}, {}, body)[1]
    # An id is never taken for content that looks like one, and the query is a part of the content.
    assert receipt_key("none", {}, {"a": "1"}, b"x") != receipt_key("none", {}, {"a": "2"}, b"x")
    assert receipt_key("none", {}, {}, b"x") == receipt_key("none", {"webhook-id": "other"}, {}, b"x")


@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                "webhook-id", "webhook-timestamp", "webhook-signature", "stripe-signature", "x-signature",
                "x-hub-signature-256", "x-telegram-bot-api-secret-token", "x-github-delivery",
            ]
        ),
        st.text(max_size=80) | st.just("1614265330") | st.just("t=1614265330,v1="),
    ),
    body=st.binary(max_size=60) | st.just(b'{"id": null}') | st.just(b'{"update_id": 1e400}'),
    secret=st.text(max_size=40),
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["hmac-sha256", "standard-webhooks", "stripe", "telegram", "github"])
def test_nothing_that_is_made_up_comes_in_or_breaks_it(
    scheme: Any, headers: dict[str, str], body: bytes, secret: str
) -> None:
    real = "K" + "7" * 43
    if real in headers.values() or real in secret:
        return
    assert refusal(scheme, headers, body, [real], NOW) is not None
    refusal(scheme, headers, body, candidates(secret), NOW)
    assert len(receipt_key(scheme, headers, headers, body)[0]) == 64
