"""Notifications: who is told, once, as they want it; and nobody of another tenant."""

from __future__ import annotations

import asyncio

import pytest

from jackfield.http import PageRequest
from jackfield.notifications import NotificationMissingError, RecipientUnknownError, purge
from jackfield.notifications.models import NotificationDelivery
from jackfield.notifications.preferences import CHANNELS, wanted
from tests.server.notifications.conftest import RIVAL, TENANT, Office


async def titles(office: Office, member: str, tenant: str = TENANT) -> list[str]:
    found, _ = await office.service.list(tenant, member, PageRequest())
    return [row.title for row in found.items]


async def test_all_members_of_the_tenant_are_told_and_nobody_elses(office: Office) -> None:
    assert await office.send("all") == 2
    assert await titles(office, office.ada.id) == await titles(office, office.bob.id) == ["Hello"]
    assert await titles(office, office.eve.id, RIVAL) == []
    assert await titles(office, office.ada.id, RIVAL) == []


async def test_a_role_or_some_members_are_told(office: Office) -> None:
    assert await office.send("owner", "For owners") == 1
    assert await office.send([office.bob.id, "owner"], "For both") == 2
    assert await titles(office, office.bob.id) == ["For both"]


@pytest.mark.parametrize("to", ["nobody", "operator", "mem_1' OR 1=1 --"])
async def test_strangers_cannot_be_told(office: Office, to: str) -> None:
    with pytest.raises(RecipientUnknownError):
        await office.send(to)
    with pytest.raises(RecipientUnknownError):
        await office.send([office.ada.id, office.eve.id])
    assert await office.rows() == []


async def test_the_same_key_is_told_once_however_many_say_it_at_once(office: Office) -> None:
    told = await asyncio.gather(*(office.send("all", f"Late {n}", key="order-7") for n in range(5)))
    assert sorted(told) == [0, 0, 0, 0, 2]
    assert len(await titles(office, office.ada.id)) == 1
    assert await office.send("all", "Late too", key="order-8") == 2
    assert await office.send("all", "Another's", key="order-7", plugin="other") == 2


async def test_the_list_pages_and_tells_what_is_unread(office: Office) -> None:
    for number in range(4):
        await office.send(office.ada.id, f"n{number}")
    page, unread = await office.service.list(TENANT, office.ada.id, PageRequest(limit=3))
    assert ([row.title for row in page.items], unread) == (["n3", "n2", "n1"], 4)
    rest, _ = await office.service.list(TENANT, office.ada.id, PageRequest(page.next_cursor, 3))
    assert [row.title for row in rest.items] == ["n0"]
    await office.service.mark(TENANT, office.ada.id, page.items[0].id)
    found, unread = await office.service.list(TENANT, office.ada.id, PageRequest(), unread_only=True)
    assert ([row.title for row in found.items], unread) == (["n2", "n1", "n0"], 3)
    assert await office.service.mark_all(TENANT, office.ada.id, up_to=page.items[2].id) == 2
    assert await office.service.mark_all(TENANT, office.ada.id) == 1
    await office.service.mark(TENANT, office.ada.id, page.items[0].id, is_read=False)
    assert (await office.service.list(TENANT, office.ada.id, PageRequest()))[1] == 1


async def test_nobody_marks_or_reads_anothers(office: Office) -> None:
    await office.send(office.ada.id)
    (row,) = await office.rows()
    for tenant, member in ((TENANT, office.bob.id), (RIVAL, office.eve.id), (RIVAL, office.ada.id)):
        with pytest.raises(NotificationMissingError):
            await office.service.mark(tenant, member, row.id)
        assert await office.service.mark_all(tenant, member) == 0
    assert (await office.rows())[0].read_at is None


async def test_a_muted_plugin_tells_nothing_and_others_do(office: Office) -> None:
    await office.service.choose(TENANT, office.ada.id, [("shop", channel, False) for channel in CHANNELS])
    assert await office.send("all") == 1
    assert await office.send("all", plugin="other") == 2
    assert await titles(office, office.ada.id) == ["Hello"]
    await office.service.forget_choices(TENANT, office.ada.id, "shop")
    assert await office.send("all", "Again") == 2


async def test_who_wants_e_mails_alone_has_nothing_in_the_list(office: Office) -> None:
    await office.service.choose(TENANT, office.ada.id, [("", "in_app", False)])
    assert await office.send(office.ada.id) == 1
    assert await titles(office, office.ada.id) == []
    assert (await office.service.list(TENANT, office.ada.id, PageRequest()))[1] == 0
    assert await office.deliveries() == [("email", "pending", None)]


async def test_a_flood_becomes_one_entry_that_grows_and_loses_nothing(office: Office) -> None:
    for number in range(12):
        assert await office.send(office.ada.id, f"n{number}") == 1
    found, unread = await office.service.list(TENANT, office.ada.id, PageRequest())
    assert unread == 6
    latest = found.items[0]
    assert latest.more == 7
    assert latest.body.split() == [f"n{number}" for number in range(5, 12)]
    # Another plugin's are not in its way, and an hour later it may speak as before.
    await office.send(office.ada.id, "other", plugin="other")
    office.clock.advance(3_700)
    await office.send(office.ada.id, "later")
    assert (await titles(office, office.ada.id))[:2] == ["later", "other"]


async def test_an_entry_that_grows_has_an_end(office: Office) -> None:
    for number in range(60):
        await office.send(office.ada.id, f"{number} " + "x" * 190)
    (row,) = [row for row in await office.rows() if row.more]
    assert row.more == 55
    assert len(row.body) < 4_300


async def test_what_an_uninstalled_plugin_told_goes_with_it(office: Office) -> None:
    await office.send("all")
    await office.send("all", plugin="other")
    async with office.database.write(TENANT) as session:
        await purge(session, "inst_shop")
    assert {row.plugin for row in await office.rows()} == {"other"}
    assert len(await office.rows(NotificationDelivery)) == 2


def test_what_is_chosen_for_a_plugin_outweighs_what_is_chosen_for_all() -> None:
    assert wanted({}, "shop") == {"in_app", "email", "webhook"}
    assert wanted({("", "email"): False}, "shop") == {"in_app", "webhook"}
    assert wanted({("", "email"): False, ("shop", "email"): True}, "shop") == {"in_app", "email", "webhook"}
    assert wanted({("shop", "in_app"): False}, "other", ["in_app"]) == {"in_app"}
