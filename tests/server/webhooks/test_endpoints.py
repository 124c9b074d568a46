"""Events go out to a tenant's endpoints: signed, again until they are taken, and to nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.responses import RedirectResponse, Response

from jackfield.db import Database, Notices
from jackfield.jobs import Deliveries, Delivery, OutboxEvent
from jackfield.records.models import AuditEntry
from jackfield.webhooks import (
    ENDPOINTS,
    EndpointInactiveError,
    EndpointLimitError,
    EndpointMissingError,
    Endpoints,
    EventPatternError,
    Sent,
    WebhookUrlError,
)
from jackfield.webhooks.models import AttemptRow, EndpointRow
from jackfield.webhooks.patterns import checked, is_wanted
from jackfield.webhooks.places import Places
from jackfield.webhooks.service import BACK_OFF_S
from tests.server.conftest import until
from tests.server.webhooks.conftest import RIVAL, TENANT, OpenSealer, Post

pytestmark = pytest.mark.asyncio


def signatures(secret: str, headers: dict[str, str], body: bytes) -> str:
    """As a receiver computes it, without our code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def test_an_event_goes_to_the_endpoint_signed_and_to_the_plugins_as_well(post: Post) -> None:
    row, secret = await post.endpoints.add(TENANT, post.receiver.url, ["sale.*"], "member:ada")
    event = await post.emit(payload={"total": 7, "name": "Zoë"})
    ((headers, body),) = post.receiver.requests
    assert headers["webhook-id"] == event
    assert headers["webhook-timestamp"] == str(int(post.clock.now().timestamp()))
    assert headers["webhook-signature"] == signatures(secret, headers, body)
    assert headers["content-type"] == "application/json"
    sent = json.loads(body)
    assert (sent["type"], sent["data"]) == ("sale.created", {"total": 7, "name": "Zoë"})
    assert sent["timestamp"]
    (delivery,) = await post.deliveries()
    assert (delivery.state, delivery.installation_id, delivery.attempt) == ("done", row.id, 1)
    (attempt,) = await post.attempts()
    assert (attempt.status, attempt.error_code, attempt.delivery_id) == (204, None, delivery.id)
    assert [each.event for each in post.plugin.begun] == ["sale.created"]
    assert secret not in row.secret.split("|")[:-1]


async def test_only_events_that_are_wanted_go_out_and_only_the_tenants_own(post: Post) -> None:
    await post.endpoints.add(TENANT, post.receiver.url, ["sale.refunded", "loyalty.*"], "a")
    await post.emit("sale.created")
    await post.emit("sale.refunded", tenant=RIVAL)
    await post.emit("loyaltyx.full")
    assert post.receiver.requests == []
    await post.emit("loyalty.full")
    await post.emit("sale.refunded")
    assert len(post.receiver.requests) == 2


async def test_an_endpoint_that_is_added_later_hears_of_what_comes_then(post: Post) -> None:
    await post.emit()
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    await post.emit()
    assert len(post.receiver.requests) == 1
    await post.endpoints.change(TENANT, row.id, "a", events=["other.thing"])
    await post.emit()
    await post.endpoints.change(TENANT, row.id, "a", events=["*"])
    await post.endpoints.remove(TENANT, row.id, "a")
    await post.emit()
    assert len(post.receiver.requests) == 1
    assert await post.attempts() == []
    assert await post.deliveries() == []


async def test_what_fails_comes_again_later_and_later_under_the_same_id(post: Post) -> None:
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.failing(3)
    event = await post.emit()
    (delivery,) = await post.deliveries()
    assert (delivery.state, delivery.error_code) == ("pending", "webhook-refused")
    assert delivery.next_attempt_at is not None
    for wait_s in BACK_OFF_S[:3]:
        (delivery,) = await post.deliveries()
        assert delivery.next_attempt_at is not None
        assert wait_s * 0.89 < (delivery.next_attempt_at - post.clock.now()).total_seconds() < wait_s * 1.11
        await post.later(wait_s * 1.2)
    (delivery,) = await post.deliveries()
    assert (delivery.state, delivery.attempt) == ("done", 4)
    assert {headers["webhook-id"] for headers, _ in post.receiver.requests} == {event}
    assert len({body for _, body in post.receiver.requests}) == 1
    assert len({headers["webhook-timestamp"] for headers, _ in post.receiver.requests}) == 4
    attempts = await post.attempts()
    assert [(one.attempt, one.status, one.answer) for one in attempts] == [
        (1, 500, "on fire"), (2, 500, "on fire"), (3, 500, "on fire"), (4, 204, ""),
    ]  # fmt: skip


async def test_it_is_given_up_after_three_days_and_can_be_replayed(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    began = post.clock.now()
    post.receiver.failing(len(BACK_OFF_S) + 1, 503)
    await post.emit()
    for wait_s in BACK_OFF_S:
        await post.later(wait_s * 1.2)
    (delivery,) = await post.deliveries()
    assert (delivery.state, delivery.failures) == ("dead", 10)
    assert post.clock.now() - began > timedelta(days=3)
    assert await post.endpoints.replay(TENANT, row.id, post.clock.now() + timedelta(hours=1), "a") == 0
    # The log is by the time of the database's own rows.
    assert await post.endpoints.replay(TENANT, row.id, began, "a") == 1
    await post.dispatcher.drain()
    (delivery,) = await post.deliveries()
    assert (delivery.state, delivery.failures) == ("done", 0)


async def test_who_asks_for_more_time_gets_it(post: Post) -> None:
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.failing(1, 429, retry_after="3600")
    post.receiver.failing(1, 503, retry_after="1e400")
    await post.emit()
    (delivery,) = await post.deliveries()
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - post.clock.now() == timedelta(hours=1)
    await post.later(3601)
    (delivery,) = await post.deliveries()
    assert delivery.next_attempt_at is not None
    assert delivery.next_attempt_at - post.clock.now() < timedelta(minutes=6)


async def test_no_redirect_is_followed(post: Post) -> None:
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.answers = [RedirectResponse(post.receiver.url + "?other=1", 307)]
    await post.emit()
    assert len(post.receiver.requests) == 1
    (attempt,) = await post.attempts()
    assert (attempt.status, attempt.error_message) == (307, "it answered 307; redirects are not followed")


async def test_a_rotated_secret_signs_beside_the_old_one_until_that_is_over(post: Post) -> None:
    row, old = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    new = await post.endpoints.rotate(TENANT, row.id, timedelta(hours=1), "a")
    await post.emit()
    headers, body = post.receiver.requests[-1]
    expected = [signatures(new, headers, body), signatures(old, headers, body)]
    assert headers["webhook-signature"].split(" ") == expected
    post.clock.advance(3601)
    await post.emit()
    headers, body = post.receiver.requests[-1]
    assert headers["webhook-signature"] == signatures(new, headers, body)
    # One that leaked is worth nothing at once.
    newest = await post.endpoints.rotate(TENANT, row.id, timedelta(0), "a")
    await post.emit()
    headers, body = post.receiver.requests[-1]
    assert headers["webhook-signature"] == signatures(newest, headers, body)


async def test_five_days_of_failures_switch_it_off_and_tell_the_admins(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a", description="Books")
    post.receiver.failing(40)
    for _ in range(6):
        await post.emit()
        await post.later(86_400)
    found = await post.endpoints.get(TENANT, row.id)
    assert (found.is_active, found.disabled_because) == (False, "failing")
    assert [(tenant, title) for tenant, title, _ in post.told] == [(TENANT, "Webhooks to Books are off")]
    assert {one.state for one in await post.deliveries()} <= {"skipped", "dead"}
    count = len(post.receiver.requests)
    await post.emit()
    await post.later(86_400)
    assert len(post.receiver.requests) == count
    with pytest.raises(EndpointInactiveError):
        await post.endpoints.replay(TENANT, row.id, post.clock.now() - timedelta(days=30), "a")
    post.receiver.answers.clear()
    await post.endpoints.change(TENANT, row.id, "a", is_active=True)
    again = await post.endpoints.replay(TENANT, row.id, post.clock.now() - timedelta(days=30), "a")
    assert again == 5, "what was waiting when it was switched off comes again, and what came after that never was here"
    await post.dispatcher.drain()
    assert {one.state for one in await post.deliveries()} == {"done"}


async def test_one_success_ends_the_count_of_days(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.failing(1)
    await post.emit()
    assert (await post.endpoints.get(TENANT, row.id)).failing_since is not None
    await post.later(10)
    assert (await post.endpoints.get(TENANT, row.id)).failing_since is None


async def test_a_receiver_that_is_gone_is_not_asked_again(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.answers = [Response(status_code=410)]
    await post.emit()
    found = await post.endpoints.get(TENANT, row.id)
    assert (found.is_active, found.disabled_because) == (False, "gone")
    assert [one.state for one in await post.deliveries()] == ["dead"]
    assert len(post.told) == 1


async def test_a_test_says_how_it_went_and_is_not_sent_again(post: Post) -> None:
    row, secret = await post.endpoints.add(TENANT, post.receiver.url, ["sale.created"], "a")
    post.receiver.answers = [Response("nö\0".encode(), 418)]
    attempt = await post.endpoints.test(TENANT, row.id)
    assert (attempt.status, attempt.error_code, attempt.answer) == (418, "webhook-refused", "nö\ufffd")
    ((headers, body),) = post.receiver.requests
    assert json.loads(body)["type"] == "webhook.test"
    assert headers["webhook-signature"] == signatures(secret, headers, body)
    await post.later(100)
    assert len(post.receiver.requests) == 1
    assert (await post.endpoints.get(TENANT, row.id)).failing_since is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "http://user:pass@example.com/", "javascript:alert(1)", "https:///x", "", "/hook",
        "https://exa mple.com/", "https://example.com\r\nx: y/",
    ],
)  # fmt: skip
async def test_nothing_is_sent_to_what_is_no_address(post: Post, url: str) -> None:
    with pytest.raises(WebhookUrlError):
        await post.endpoints.add(TENANT, url, ["*"], "a")
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    with pytest.raises(WebhookUrlError):
        await post.endpoints.change(TENANT, row.id, "a", url=url)


async def test_private_addresses_are_refused_when_it_is_sent(post: Post) -> None:
    await post.endpoints.add(TENANT, "https://169.254.169.254/latest/", ["*"], "a")
    await post.emit()
    (attempt,) = await post.attempts()
    assert (attempt.status, attempt.error_code, attempt.answer) == (None, "address-refused", "")


async def test_nobody_reaches_another_tenants_endpoint(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    assert list(await post.endpoints.list(RIVAL)) == []
    for attempt in (
        post.endpoints.get(RIVAL, row.id), post.endpoints.change(RIVAL, row.id, "b", is_active=False),
        post.endpoints.remove(RIVAL, row.id, "b"), post.endpoints.rotate(RIVAL, row.id, timedelta(0), "b"),
        post.endpoints.test(RIVAL, row.id), post.endpoints.replay(RIVAL, row.id, post.clock.now(), "b"),
    ):  # fmt: skip
        with pytest.raises(EndpointMissingError):
            await attempt
    assert await post.endpoints.attempts(RIVAL, []) == {}
    assert (await post.endpoints.get(TENANT, row.id)).is_active


async def test_a_tenant_has_as_many_as_its_plan_allows(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    for _ in range(2):
        await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    with pytest.raises(EndpointLimitError):
        await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    await post.endpoints.add(RIVAL, post.receiver.url, ["*"], "a")
    await post.endpoints.remove(TENANT, row.id, "a")
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")


async def test_what_is_switched_off_by_hand_skips_what_waits(post: Post) -> None:
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.failing(1)
    await post.emit()
    await post.endpoints.change(TENANT, row.id, "a", is_active=False)
    assert [(one.state, one.error_code) for one in await post.deliveries()] == [
        ("skipped", "webhook-endpoint-inactive")
    ]
    async with post.database.read(None) as session:
        actions = list(await session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
        assert actions == ["webhook-endpoint.add", "webhook-endpoint.change"]


async def test_its_deliveries_survive_a_restart_in_the_middle_of_one(post: Post) -> None:
    """A node that dies while it sends leaves a lease; the next one sends again, with the same id."""
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    post.receiver.failing(1)
    event = await post.emit()
    async with post.database.write(None) as session:
        row = (await session.scalars(select(Delivery).where(Delivery.installation_id.startswith("hook_")))).one()
        row.place, row.state, row.lease_owner = "running", "running", "node_dead"
        row.lease_until = post.clock.now() - timedelta(seconds=1)
    await post.dispatcher.drain()
    assert [headers["webhook-id"] for headers, _ in post.receiver.requests] == [event, event]
    assert [one.state for one in await post.deliveries()] == ["done"]


async def test_removing_it_leaves_nothing_of_its_own_behind(post: Post) -> None:
    post.plugin.subscribers = nobody  # type: ignore[method-assign]  # the plugin beside takes nothing here
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    await post.emit()
    await post.endpoints.remove(TENANT, row.id, "a")
    async with post.database.read(None) as session:
        for model in (EndpointRow, AttemptRow, Delivery, OutboxEvent):
            assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_an_endpoint_that_is_removed_while_it_is_sent_to_leaves_nothing_either(post: Post) -> None:
    post.plugin.subscribers = nobody  # type: ignore[method-assign]  # the plugin beside takes nothing here
    row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    sender = post.endpoints._sender  # pyright: ignore[reportPrivateUsage]  # to get between two steps
    send = sender.send

    async def slowly(*given: Any, **options: Any) -> Sent:
        sent = await send(*given, **options)
        await post.endpoints.remove(TENANT, row.id, "a")
        return sent

    sender.send = slowly  # type: ignore[method-assign]  # likewise
    await post.emit()
    assert len(post.receiver.requests) == 1
    async with post.database.read(None) as session:
        for model in (EndpointRow, AttemptRow, Delivery, OutboxEvent):
            assert await session.scalar(select(func.count()).select_from(model)) == 0


async def test_other_nodes_hear_of_an_endpoint(post: Post) -> None:
    if post.database.is_sqlite:
        pytest.skip("there is one node")
    other = Database(post.database.url)
    notices = Notices(other)

    async def unlimited(tenant_id: str) -> int | None:
        return None

    there = Endpoints(
        other, OpenSealer(), post.endpoints._sender,  # pyright: ignore[reportPrivateUsage]  # as in the node beside
        post.settings, post.clock, limit_of=unlimited,
    )  # fmt: skip
    notices.on(ENDPOINTS, there.forget)
    await notices.start()
    listening = asyncio.create_task(notices.run())

    async def wanted() -> int:
        return len(await there.subscribers(TENANT, "sale.created"))

    try:
        assert await wanted() == 0
        row, _ = await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")

        async def has_it() -> bool:
            return await wanted() == 1

        await until(has_it)
        await post.endpoints.change(TENANT, row.id, "a", is_active=False)

        async def is_rid_of_it() -> bool:
            return await wanted() == 0

        await until(is_rid_of_it)
    finally:
        listening.cancel()
        await asyncio.wait([listening])
        await notices.close()
        await other.close()


async def nobody(tenant_id: str, event_name: str) -> list[Any]:
    return []


async def test_one_delivery_can_be_replayed(post: Post) -> None:
    await post.endpoints.add(TENANT, post.receiver.url, ["*"], "a")
    await post.emit()
    (delivery,) = await post.deliveries()
    await Deliveries(post.database, post.clock).replay(TENANT, delivery.id)
    await post.dispatcher.drain()
    first, second = (headers["webhook-id"] for headers, _ in post.receiver.requests)
    assert first == second
    assert [one.attempt for one in (await post.endpoints.attempts(TENANT, [delivery.id]))[delivery.id]] == [1, 2]


async def test_patterns_are_names_beginnings_or_everything() -> None:
    assert checked(["sale.created", "sale.*", "*", "sale.*"]) == ["sale.created", "sale.*", "*"]
    for bad in ("", "sale.", "sale*", "*.created", "a.*.b", "**", "sale..*", "a b", "schedule:x", "x" * 200, "a\n"):
        with pytest.raises(EventPatternError):
            checked([bad] if bad != "sale." else ["sale.*x"])
    with pytest.raises(EventPatternError):
        checked([])
    with pytest.raises(EventPatternError):
        checked([f"e{number}" for number in range(51)])
    assert is_wanted("sale.created", ["sale.*"])
    assert is_wanted("sale.item.added", ["sale.*"])
    assert not is_wanted("sale", ["sale.*"])
    assert not is_wanted("sales.created", ["sale.*"])
    assert not is_wanted("schedule:purge", ["*"])
    assert not is_wanted("webhook:paid", ["*"])


async def test_slow_and_failing_receivers_leave_places_for_others() -> None:
    places = Places(per_endpoint=2, per_node=3)
    with places.taken("a"):
        assert places.wait_s("a", is_failing=False) == 0
        assert places.wait_s("a", is_failing=True) > 10, "one that fails is tried one at a time"
        with places.taken("a"):
            assert places.wait_s("a", is_failing=False) > 0
            assert places.wait_s("b", is_failing=True) == 0
            with places.taken("b"):
                assert places.wait_s("c", is_failing=False) > 0
    assert places.wait_s("a", is_failing=False) == 0
