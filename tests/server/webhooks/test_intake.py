"""What comes in is kept once, with the memory of it in the same transaction; addresses are secrets."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from jackfield.db import Database
from jackfield.jobs import Delivery, OutboxEvent
from jackfield.webhooks import (
    Address,
    Addresses,
    AddressUnknownError,
    Housekeeping,
    Intake,
    WebhookUnknownError,
    ensure_addresses,
    inventory,
    purge,
)
from jackfield.webhooks.models import AddressRow, ReceiptRow
from tests.server.conftest import ManualClock
from tests.server.webhooks.conftest import RIVAL, TENANT, OpenSealer

HERE = Address(TENANT, "inst_1", "paid")


class Desk:
    """The parts, on one database."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.addresses = Addresses(database, OpenSealer(), "https://shop.example/", clock)
        self.intake = Intake(database, clock)

    async def open(self, *names: str, installation: str = "inst_1", tenant: str = TENANT) -> None:
        async with self.database.write(tenant) as session:
            await ensure_addresses(session, OpenSealer(), tenant, installation, names, self.clock.now())

    async def count(self, model: type[Delivery | OutboxEvent | ReceiptRow]) -> int:
        async with self.database.read(None) as session:
            return await session.scalar(select(func.count()).select_from(model)) or 0

    async def row(self) -> AddressRow:
        return (await self.addresses.list(TENANT, "inst_1"))["paid"]


@pytest.fixture
def desk(either_database: Database, clock: ManualClock) -> Desk:
    return Desk(either_database, clock)


async def test_an_address_is_shown_once_and_leads_to_its_webhook(desk: Desk) -> None:
    await desk.open("paid", "refunded")
    shown = await desk.addresses.show(TENANT, "inst_1")
    assert set(shown) == {"paid", "refunded"}
    assert shown["paid"].startswith("https://shop.example/api/webhooks/")
    assert await desk.addresses.show(TENANT, "inst_1") == {}
    token = shown["paid"].rpartition("/")[2]
    assert len(token) == 43
    assert await desk.addresses.find(token) == HERE
    assert token not in str(vars(await desk.row())), "it is kept as a hash"
    for other in ("", "x", token[:-1], token + "x", token.swapcase(), "%" * 43, (await desk.row()).token_hash):
        assert await desk.addresses.find(other) is None


async def test_an_address_stays_when_it_is_asked_for_again_and_another_tenant_sees_none_of_it(desk: Desk) -> None:
    await desk.open("paid")
    before = (await desk.row()).token_hash
    await desk.open("paid", "other")
    assert (await desk.row()).token_hash == before
    assert await desk.addresses.show(RIVAL, "inst_1") == {}
    assert await desk.addresses.list(RIVAL, "inst_1") == {}
    with pytest.raises(WebhookUnknownError):
        await desk.addresses.rotate(RIVAL, "inst_1", "paid", timedelta(0), "eve")
    assert (await desk.row()).token_hash == before


async def test_the_old_address_is_good_for_the_overlap(desk: Desk) -> None:
    await desk.open("paid")
    old = (await desk.addresses.show(TENANT, "inst_1"))["paid"].rpartition("/")[2]
    new = (await desk.addresses.rotate(TENANT, "inst_1", "paid", timedelta(hours=1), "ada")).rpartition("/")[2]
    assert await desk.addresses.find(old) == await desk.addresses.find(new) == HERE
    desk.clock.advance(3600)
    assert await desk.addresses.find(old) is None
    newest = (await desk.addresses.rotate(TENANT, "inst_1", "paid", timedelta(0), "ada")).rpartition("/")[2]
    assert await desk.addresses.find(new) is None
    assert await desk.addresses.find(newest) == HERE


async def test_rotating_before_anybody_has_seen_it_leaves_nothing_to_be_shown(desk: Desk) -> None:
    await desk.open("paid")
    await desk.addresses.rotate(TENANT, "inst_1", "paid", timedelta(0), "ada")
    assert await desk.addresses.show(TENANT, "inst_1") == {}


async def test_what_comes_twice_is_delivered_once(desk: Desk) -> None:
    await desk.open("paid")
    first = await desk.intake.take(HERE, "handle", "k1", "{}", is_id=True)
    again = await desk.intake.take(HERE, "handle", "k1", "{}", is_id=True)
    assert (again.delivery_id, first.is_duplicate, again.is_duplicate) == (first.delivery_id, False, True)
    assert await desk.count(Delivery) == await desk.count(OutboxEvent) == 1
    await desk.open("other")
    await desk.open("paid", installation="inst_2", tenant=RIVAL)
    other = await desk.intake.take(Address(TENANT, "inst_1", "other"), "handle", "k1", "{}", is_id=True)
    stranger = await desk.intake.take(Address(RIVAL, "inst_2", "paid"), "handle", "k1", "{}", is_id=True)
    assert not other.is_duplicate
    assert not stranger.is_duplicate


async def test_what_comes_many_times_at_the_same_moment_is_delivered_once(desk: Desk) -> None:
    await desk.open("paid")
    taken = await asyncio.gather(*(desk.intake.take(HERE, "handle", "k", "{}", is_id=True) for _ in range(8)))
    assert len({one.delivery_id for one in taken}) == 1
    assert sum(not one.is_duplicate for one in taken) == 1
    assert await desk.count(Delivery) == 1


async def test_the_same_content_is_another_webhook_a_day_later(desk: Desk) -> None:
    await desk.open("paid")
    await desk.intake.take(HERE, "handle", "k", "{}", is_id=False)
    desk.clock.advance(86_399)
    assert (await desk.intake.take(HERE, "handle", "k", "{}", is_id=False)).is_duplicate
    desk.clock.advance(1)
    fresh = await desk.intake.take(HERE, "handle", "k", "{}", is_id=False)
    assert not fresh.is_duplicate
    again = await desk.intake.take(HERE, "handle", "k", "{}", is_id=False)
    assert (again.is_duplicate, again.delivery_id) == (True, fresh.delivery_id)
    desk.clock.advance(86_400)
    assert await Housekeeping(desk.database, clock=desk.clock).prune() == 1
    assert await desk.count(ReceiptRow) == 0


async def test_admins_see_that_something_comes_or_is_refused_to_the_minute(desk: Desk) -> None:
    await desk.open("paid")
    await desk.intake.refused(HERE, "signature-mismatch")
    began = desk.clock.now()
    desk.clock.advance(30)
    await desk.intake.refused(HERE, "secret-not-set")
    row = await desk.row()
    assert (row.refused_at, row.refusal, row.received_at) == (began, "signature-mismatch", None)
    desk.clock.advance(31)
    await desk.intake.refused(HERE, "secret-not-set")
    await desk.intake.take(HERE, "handle", "k", "{}", is_id=True)
    row = await desk.row()
    assert (row.refusal, row.received_at) == ("secret-not-set", desk.clock.now())


async def test_nothing_is_left_after_a_purge(desk: Desk) -> None:
    await desk.open("paid")
    await desk.open("paid", installation="inst_2")
    await desk.intake.take(HERE, "handle", "k", "{}", is_id=True)
    async with desk.database.write(TENANT) as session:
        assert await inventory(session, "inst_1") == 1
        await purge(session, "inst_1")
        assert await inventory(session, "inst_1") == 0
        assert await inventory(session, "inst_2") == 1
    assert await desk.count(ReceiptRow) == 0


async def test_nothing_comes_in_behind_a_removal(desk: Desk) -> None:
    """The address was found a moment before the plugin was removed."""
    await desk.open("paid")
    async with desk.database.write(TENANT) as session:
        await purge(session, "inst_1")
    with pytest.raises(AddressUnknownError):
        await desk.intake.take(HERE, "handle", "k", "{}", is_id=True)
    assert await desk.count(Delivery) == await desk.count(ReceiptRow) == 0
