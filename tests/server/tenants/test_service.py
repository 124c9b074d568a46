"""Tenants, members and tokens."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text

from jackfield.db import Database
from jackfield.http import Caller, PageRequest, Role
from jackfield.tenants import (
    MemberExistsError,
    MemberMissingError,
    TenantExistsError,
    TenantIdInvalidError,
    TenantMissingError,
    TenantService,
    Token,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
    TokenSubjectError,
)
from tests.server.conftest import ManualClock


@pytest.fixture
def service(database: Database, clock: ManualClock) -> TenantService:
    return TenantService(database, clock)


async def token_rows(database: Database) -> list[Token]:
    async with database.read(None) as session:
        return list((await session.scalars(select(Token))).all())


async def test_a_tenant_has_the_id_that_the_host_gives_it_or_a_new_one(service: TenantService) -> None:
    assert (await service.create_tenant("Acme", tenant_id="acme")).id == "acme"
    made = await service.create_tenant("Other")
    assert re.fullmatch(r"ten_[0-9a-z]{26}", made.id)
    assert (await service.tenant(made.id)).name == "Other"


@pytest.mark.parametrize("tenant_id", ["", "-", "Acme", "a b", "a/b", "../x", "é", "a" * 65, "a\n", "-acme"])
async def test_an_id_that_could_be_mistaken_for_something_else_is_refused(
    service: TenantService, tenant_id: str
) -> None:
    with pytest.raises(TenantIdInvalidError):
        await service.create_tenant("X", tenant_id=tenant_id)


async def test_an_id_is_given_once(service: TenantService) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    with pytest.raises(TenantExistsError):
        await service.create_tenant("Acme again", tenant_id="acme")
    assert (await service.tenant("acme")).name == "Acme"


async def test_members_of_one_tenant_are_not_seen_from_another(service: TenantService) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    await service.create_tenant("Other", tenant_id="other")
    ann = await service.add_member("acme", "Ann", " Ann@Example.com ", "owner")
    await service.add_member("other", "Ann", "ann@example.com")
    assert ann.email == "ann@example.com"
    assert [member.id for member in await service.members("acme")] == [ann.id]
    with pytest.raises(MemberMissingError):
        await service.member("other", ann.id)
    with pytest.raises(MemberExistsError):
        await service.add_member("acme", "Ann 2", "ANN@example.com")
    with pytest.raises(TenantMissingError):
        await service.add_member("nowhere", "Ann", "ann@example.com")
    with pytest.raises(TokenSubjectError):
        await service.add_member("acme", "Eve", "eve@example.com", "operator")


@pytest.mark.parametrize("role", ["owner", "admin", "member"])
async def test_a_token_names_its_tenant_and_role(service: TenantService, role: Role) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    issued = await service.issue_token(role, tenant_id="acme")
    assert re.fullmatch(rf"jf_{role}_[A-Za-z0-9_-]{{43}}", issued.plaintext)
    assert await service.authenticate(issued.plaintext) == Caller(role, tenant_id="acme", token_id=issued.token.id)


async def test_operators_and_publishers_have_no_tenant(service: TenantService) -> None:
    operator = await service.issue_token("operator")
    publisher = await service.issue_token("publisher", publisher_id="pub_1")
    assert (await service.authenticate(operator.plaintext)).tenant_id is None
    caller = await service.authenticate(publisher.plaintext)
    assert (caller.role, caller.publisher_id, caller.tenant_id) == ("publisher", "pub_1", None)


async def test_the_secret_is_not_in_the_database(service: TenantService, database: Database) -> None:
    issued = await service.issue_token("operator", name="ops")
    (row,) = await token_rows(database)
    assert issued.plaintext.startswith(row.prefix)
    assert len(row.prefix) < len("jf_operator_") + 8
    async with database.read(None) as session:
        for table in ("jf_tokens", "jf_audit"):
            stored = (await session.execute(text(f"SELECT * FROM {table}"))).all()
            assert issued.plaintext.removeprefix(row.prefix) not in repr(stored)


@pytest.mark.parametrize(
    ("role", "given"),
    [
        ("owner", {}),
        ("admin", {"tenant_id": "acme", "publisher_id": "pub_1"}),
        ("operator", {"tenant_id": "acme"}),
        ("publisher", {}),
        ("publisher", {"tenant_id": "acme", "publisher_id": "pub_1"}),
        ("operator", {"member_id": "mem_1"}),
    ],
)
async def test_a_role_goes_only_with_those_it_is_for(service: TenantService, role: Role, given: dict[str, str]) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    with pytest.raises(TokenSubjectError):
        await service.issue_token(role, **given)


async def test_a_member_is_given_their_own_role_and_tenant_and_no_other(service: TenantService) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    await service.create_tenant("Other", tenant_id="other")
    member = await service.add_member("acme", "Bob", "bob@example.com", "member")
    with pytest.raises(TokenSubjectError):
        await service.issue_token("owner", tenant_id="acme", member_id=member.id)
    with pytest.raises(MemberMissingError):
        await service.issue_token("member", tenant_id="other", member_id=member.id)
    with pytest.raises(TenantMissingError):
        await service.issue_token("member", tenant_id="nowhere")


async def test_a_members_token_follows_the_members_role(
    service: TenantService, database: Database, clock: ManualClock
) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    member = await service.add_member("acme", "Bob", "bob@example.com", "owner")
    issued = await service.issue_token("owner", tenant_id="acme", member_id=member.id)
    assert (await service.authenticate(issued.plaintext)).role == "owner"
    async with database.write("acme") as session:
        (await session.get_one(type(member), member.id)).role = "member"
    clock.advance(11)
    assert (await service.authenticate(issued.plaintext)).role == "member"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "jf_operator_",
        "jf_operator_" + "A" * 43,
        "jf_root_" + "A" * 43,
        "x" * 10_000,
        "jf_operator_" + "é" * 43,
        "\x00",
    ],
)
async def test_a_token_that_was_never_issued_is_invalid(service: TenantService, token: str) -> None:
    with pytest.raises(TokenInvalidError):
        await service.authenticate(token)


async def test_a_token_with_its_role_rewritten_is_invalid(service: TenantService) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    issued = await service.issue_token("member", tenant_id="acme")
    with pytest.raises(TokenInvalidError):
        await service.authenticate(issued.plaintext.replace("jf_member_", "jf_operator_"))


async def test_a_token_expires_to_the_moment_even_when_the_caller_is_remembered(
    service: TenantService, clock: ManualClock
) -> None:
    issued = await service.issue_token("operator", lifetime=timedelta(seconds=5))
    clock.advance(4)
    await service.authenticate(issued.plaintext)
    clock.advance(1)
    with pytest.raises(TokenExpiredError):
        await service.authenticate(issued.plaintext)


async def test_a_revoked_token_is_refused_at_once(service: TenantService) -> None:
    issued = await service.issue_token("operator")
    await service.authenticate(issued.plaintext)
    await service.revoke(issued.token.id)
    await service.revoke(issued.token.id)
    with pytest.raises(TokenInvalidError):
        await service.authenticate(issued.plaintext)


async def test_a_token_revoked_on_another_node_is_refused_soon(
    service: TenantService, database: Database, clock: ManualClock
) -> None:
    issued = await service.issue_token("operator")
    await service.authenticate(issued.plaintext)
    await TenantService(database, clock).revoke(issued.token.id)
    clock.advance(10)
    with pytest.raises(TokenInvalidError):
        await service.authenticate(issued.plaintext)


async def test_a_token_revoked_while_it_is_looked_up_is_not_remembered(
    service: TenantService, database: Database
) -> None:
    for _ in range(20):
        issued = await service.issue_token("operator")
        looking = [asyncio.create_task(service.authenticate(issued.plaintext)) for _ in range(3)]
        await asyncio.gather(service.revoke(issued.token.id), *looking, return_exceptions=True)
        with pytest.raises(TokenInvalidError):
            await service.authenticate(issued.plaintext)


async def test_revoking_what_is_not_there_or_not_ours_says_so(service: TenantService) -> None:
    await service.create_tenant("Acme", tenant_id="acme")
    await service.create_tenant("Other", tenant_id="other")
    issued = await service.issue_token("owner", tenant_id="acme")
    for token_id, tenant_id in (("tok_none", None), (issued.token.id, "other")):
        with pytest.raises(TokenMissingError):
            await service.revoke(token_id, tenant_id=tenant_id)
    assert (await service.authenticate(issued.plaintext)).role == "owner"


async def test_a_known_caller_costs_no_query(service: TenantService, database: Database, clock: ManualClock) -> None:
    issued = await service.issue_token("operator")
    await service.authenticate(issued.plaintext)
    statements: list[str] = []
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(5):
        await service.authenticate(issued.plaintext)
    assert statements == []
    clock.advance(10)
    await service.authenticate(issued.plaintext)
    assert len([statement for statement in statements if statement.startswith("SELECT")]) == 1


async def test_the_last_use_is_noted_to_the_minute(
    service: TenantService, database: Database, clock: ManualClock
) -> None:
    issued = await service.issue_token("operator")
    first = clock.now()
    for _ in range(10):
        await service.authenticate(issued.plaintext)
        clock.advance(11)
    (row,) = await token_rows(database)
    assert row.last_used_at == first + timedelta(seconds=66)


async def test_lists_page_through_everything_once(service: TenantService, clock: ManualClock) -> None:
    for number in range(7):
        await service.create_tenant(f"T{number}", tenant_id=f"t{number}")
        await service.issue_token("member", tenant_id="t0", name=str(number))
        clock.advance(number % 2)
    seen: list[str] = []
    page = PageRequest(limit=3)
    while True:
        found = await service.tokens("t0", page)
        seen += [token.name for token in found.items]
        if found.next_cursor is None:
            break
        page = PageRequest(found.next_cursor, 3)
    assert sorted(seen) == [str(number) for number in range(7)]
    first = await service.tenants(PageRequest(limit=4))
    second = await service.tenants(PageRequest(first.next_cursor, 4))
    assert [tenant.id for tenant in first.items + second.items] == [f"t{n}" for n in range(7)]
