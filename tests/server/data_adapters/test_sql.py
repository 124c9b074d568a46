"""The SQL adapter: the host's own tables, as its types and rules have them, one tenant at a time."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    insert,
    select,
)
from sqlalchemy.types import TypeDecorator

from jackfield.data_adapters import (
    Change,
    ComparisonInvalidError,
    Condition,
    DataAdapter,
    EntityConflictError,
    EntityNotFoundError,
    EntityNotOpenError,
    EntityReadOnlyError,
    FieldRefusedError,
    FieldValueError,
    Query,
    QueryTooSlowError,
    Row,
    SqlAdapter,
    parse_order,
)
from jackfield.db import Database, UtcDateTime
from jackfield.surface import Entity, Surface


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Cents(TypeDecorator[float]):
    """An amount, kept as whole cents."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:
        return None if value is None else round(value * 100)

    def process_result_value(self, value: int | None, dialect: Any) -> float | None:
        return None if value is None else value / 100


class Lower(TypeDecorator[str]):
    """Takes lower-case text only, and says so in its own way."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is not None and value != value.lower():
            raise ValueError("upper case")
        return value


metadata = MetaData()
people = Table(
    "host_people",
    metadata,
    Column("id", String(40), primary_key=True, default=lambda: uuid4().hex),
    Column("organisation", String(40), nullable=False),
    Column("name", String(20), nullable=False),
    Column("code", String(10)),
    Column("life", Text),
    Column("secret_note", Text, default="secret"),
    UniqueConstraint("organisation", "code"),
)
orders = Table(
    "host_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(40), nullable=False),
    Column("person", ForeignKey("host_people.id")),
    Column("whole", Integer),
    Column("float", Float),
    Column("exact", Numeric(12, 2)),
    Column("price", Cents),
    Column("flag", Boolean),
    Column("colour", Enum(Colour)),
    Column("day", Date),
    Column("at", DateTime),
    Column("at_zone", DateTime(timezone=True)),
    Column("at_utc", UtcDateTime),
    Column("hour", Time),
    Column("uuid", Uuid),
    Column("json", JSON),
    Column("lower", Lower),
)
ORDER_FIELDS = tuple(name for name in orders.columns.keys() if name not in ("id", "tenant_id"))  # noqa: SIM118  # no dict
SURFACE = Surface(
    entities=[
        Entity(
            "people",
            people,
            readable=("id", "name", "code", "life"),
            writable=("name", "code"),
            tenant_column="organisation",
        ),
        Entity("orders", orders, readable=("id", *ORDER_FIELDS), writable=ORDER_FIELDS),
        Entity("names", people, readable=("name",), tenant_column="organisation"),
    ]
)


@pytest.fixture
async def adapter(database: Database) -> DataAdapter:
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return SqlAdapter(database, SURFACE)


async def listed(
    adapter: DataAdapter, entity: str, where: Sequence[Sequence[Any]] = (), order: Sequence[str] = (), tenant: str = "t"
) -> list[dict[str, Any]]:
    return (await adapter.list(tenant, entity, Query([Condition(*part) for part in where], parse_order(order)))).rows


async def create(adapter: DataAdapter, tenant: str, entity: str, values: Mapping[str, Any]) -> Row:
    """One entity, as plugins see it."""
    (written,) = await adapter.create(tenant, entity, [values])
    row = await adapter.get(tenant, entity, written.key)
    assert row is not None
    return row


async def change(adapter: DataAdapter, tenant: str, entity: str, id: str, values: Mapping[str, Any]) -> Row:
    (written,) = await adapter.update(tenant, entity, [Change(id, values)])
    return written.after or {}


PLAIN: Mapping[str, Any] = {
    "whole": -5,
    "float": 1.25,
    "exact": 12.34,
    "price": 9.99,
    "flag": True,
    "colour": "BLUE",
    "day": "2026-03-01",
    "at": "2026-03-01T10:00:00",
    "at_utc": "2026-03-01T10:00:00+00:00",
    "hour": "09:30:00",
    "uuid": "0a2f4be2-6a0c-4f0a-9f58-0f0d4b1d6a11",
    "json": {"a": [1, None]},
    "lower": "abc",
}


async def test_every_type_goes_in_and_out_as_plain_data(adapter: DataAdapter, database: Database) -> None:
    created = await create(adapter, "t", "orders", PLAIN)
    assert {name: created[name] for name in PLAIN} == PLAIN
    assert created["at_zone"] is None
    assert await adapter.get("t", "orders", str(created["id"])) == created
    async with database.read(None) as session:
        row = (await session.execute(select(orders))).one()._mapping
    assert row["exact"] == Decimal("12.34")
    assert row["colour"] is Colour.BLUE
    assert (row["day"], row["hour"], row["at"]) == (date(2026, 3, 1), time(9, 30), datetime(2026, 3, 1, 10))  # noqa: DTZ001  # as kept
    assert row["uuid"] == UUID(PLAIN["uuid"])


async def test_null_goes_where_the_column_takes_it(adapter: DataAdapter) -> None:
    created = await create(adapter, "t", "orders", dict.fromkeys(ORDER_FIELDS))
    assert {created[name] for name in ORDER_FIELDS} == {None}
    with pytest.raises(FieldValueError):
        await create(adapter, "t", "people", {"name": None})


async def test_times_know_their_zone(adapter: DataAdapter) -> None:
    created = await create(
        adapter, "t", "orders", {"at": "2026-03-01T10:00:00+02:00", "at_utc": "2026-03-01T10:00:00+02:00"}
    )
    assert created["at"] == "2026-03-01T08:00:00"
    assert datetime.fromisoformat(created["at_utc"]) == datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", 1.5), ("whole", "1"), ("whole", True), ("whole", 2**63), ("float", "1.0"), ("float", float("nan")),
        ("float", True), ("exact", float("inf")), ("exact", "1"), ("price", "9.99"), ("flag", 1), ("flag", "true"),
        ("colour", "GREEN"), ("colour", 1), ("day", "yesterday"), ("day", 5), ("at", "now"),
        ("at_zone", "2026-03-01T10:00:00"),
        ("at_utc", "2026-03-01T10:00:00"), ("hour", "25:00"), ("uuid", "x"), ("lower", "UPPER"), ("lower", "x" * 21),
        ("person", 5), ("person", "a\0b"),
    ],
)  # fmt: skip
async def test_a_value_of_another_kind_is_refused(adapter: DataAdapter, field: str, value: Any) -> None:
    with pytest.raises(FieldValueError):
        await create(adapter, "t", "orders", {field: value})
    assert await adapter.count("t", "orders", []) == 0


async def test_a_number_that_only_some_databases_can_keep_is_kept_or_refused(adapter: DataAdapter) -> None:
    try:
        created = await create(adapter, "t", "orders", {"whole": 2**40})
    except FieldValueError:
        assert await adapter.count("t", "orders", []) == 0
    else:
        assert created["whole"] == 2**40


async def test_text_keeps_to_its_length_also_on_sqlite(adapter: DataAdapter) -> None:
    with pytest.raises(FieldValueError):
        await create(adapter, "t", "people", {"name": "x" * 21})


async def test_tenants_do_not_see_one_another(adapter: DataAdapter) -> None:
    mine = await create(adapter, "t", "people", {"name": "Mine"})
    theirs = await create(adapter, "u", "people", {"name": "Theirs"})
    assert await listed(adapter, "people") == [mine]
    assert await listed(adapter, "people", [["id", "eq", theirs["id"]]]) == []
    assert await listed(adapter, "people", [["id", "ne", mine["id"]]]) == []
    assert await adapter.get("t", "people", theirs["id"]) is None
    assert await adapter.delete("t", "people", theirs["id"]) is None
    with pytest.raises(EntityNotFoundError):
        await change(adapter, "t", "people", theirs["id"], {"name": "Stolen"})
    with pytest.raises(EntityNotFoundError):
        await change(adapter, "t", "people", theirs["id"], {})
    assert await adapter.get("u", "people", theirs["id"]) == theirs


async def test_a_reference_to_anothers_entity_is_refused_like_one_to_nothing(adapter: DataAdapter) -> None:
    mine = await create(adapter, "t", "people", {"name": "Mine"})
    theirs = await create(adapter, "u", "people", {"name": "Theirs"})
    order = await create(adapter, "t", "orders", {"person": mine["id"]})
    messages: set[str] = set()
    for person in (theirs["id"], "nobody"):
        with pytest.raises(FieldValueError) as created:
            await create(adapter, "t", "orders", {"person": person})
        with pytest.raises(FieldValueError) as updated:
            await change(adapter, "t", "orders", str(order["id"]), {"person": person})
        messages |= {str(created.value), str(updated.value)}
    assert len(messages) == 1
    assert (await adapter.get("t", "orders", str(order["id"])) or {})["person"] == mine["id"]


@pytest.mark.parametrize("field", ["organisation", "id", "secret_note", "nothing", "name = 'x' --", ""])
async def test_fields_that_are_not_open_look_like_fields_that_are_not_there(adapter: DataAdapter, field: str) -> None:
    created = await create(adapter, "t", "people", {"name": "A"})
    messages: set[str] = set()
    with pytest.raises(FieldRefusedError) as refused:
        await create(adapter, "t", "people", {"name": "A", field: "u"})
    messages.add(str(refused.value).replace(f"`{field}`", ""))
    with pytest.raises(FieldRefusedError) as refused:
        await change(adapter, "t", "people", created["id"], {field: "u"})
    messages.add(str(refused.value).replace(f"`{field}`", ""))
    assert messages == {" is no field of `people` that a plugin may set"}
    if field != "id":
        with pytest.raises(FieldRefusedError):
            await listed(adapter, "people", [[field, "like", "s%"]])
        with pytest.raises(FieldRefusedError):
            await listed(adapter, "people", order=[f"-{field}"])


async def test_the_hosts_constraints_answer_as_a_conflict(adapter: DataAdapter) -> None:
    await create(adapter, "t", "people", {"name": "A", "code": "1"})
    with pytest.raises(EntityConflictError):
        await create(adapter, "t", "people", {"name": "B", "code": "1"})
    with pytest.raises(EntityConflictError):
        await create(adapter, "t", "people", {"code": "2"})
    person = await create(adapter, "t", "people", {"name": "C"})
    await create(adapter, "t", "orders", {"person": person["id"]})
    with pytest.raises(EntityConflictError):
        await adapter.delete("t", "people", person["id"])
    assert await adapter.count("t", "people", []) == 2


async def test_an_entity_without_writable_fields_is_read_only(adapter: DataAdapter) -> None:
    person = await create(adapter, "t", "people", {"name": "A"})
    assert await adapter.get("t", "names", person["id"]) == {"name": "A"}
    for attempt in (
        adapter.create("t", "names", [{}]),
        adapter.update("t", "names", [Change(person["id"], {})]),
        adapter.delete("t", "names", person["id"]),
    ):
        with pytest.raises(EntityReadOnlyError):
            await attempt


async def test_unknown_entities_are_not_open(adapter: DataAdapter) -> None:
    assert adapter.entities() == ("people", "orders", "names")
    assert adapter.key("orders") == "id"
    with pytest.raises(EntityNotOpenError):
        await listed(adapter, "host_people")
    with pytest.raises(EntityNotOpenError):
        adapter.key("host_people")


@pytest.mark.parametrize("id", ["", "x", "-1", "01", "1.0", "9" * 30, "١", "1 OR 1=1", "None"])
async def test_a_key_that_no_entity_can_have_finds_nothing(adapter: DataAdapter, id: str) -> None:
    await create(adapter, "t", "orders", {})
    assert await adapter.get("t", "orders", id) is None
    assert await adapter.delete("t", "orders", id) is None


async def test_conditions_order_and_pages(adapter: DataAdapter) -> None:
    for number, (whole, lower, day) in enumerate(
        [(3, "c", "2026-01-03"), (None, None, None), (1, "a%", "2026-01-01"), (2, "ab", "2026-01-02")], start=1
    ):
        assert (await create(adapter, "t", "orders", {"whole": whole, "lower": lower, "day": day}))["id"] == number

    async def ids(*where: Sequence[Any], order: Sequence[str] = ()) -> list[int]:
        found = [row["id"] for row in await listed(adapter, "orders", where, order)]
        conditions = [Condition(*condition) for condition in where]
        assert await adapter.count("t", "orders", conditions) == len(found)
        return found

    assert await ids(order=["whole"]) == [2, 3, 4, 1]
    assert await ids(order=["-whole"]) == [1, 4, 3, 2]
    assert await ids(order=["-flag", "-id"]) == [4, 3, 2, 1]
    assert await ids(["whole", "eq", None]) == [2]
    assert await ids(["whole", "ne", None]) == [1, 3, 4]
    assert await ids(["whole", "ne", 3]) == [2, 3, 4]
    assert await ids(["whole", "in", [3, None]]) == [1, 2]
    assert await ids(["whole", "in", []]) == []
    assert await ids(["whole", "gte", 2], ["whole", "lt", 3]) == [4]
    assert await ids(["whole", "gt", 2]) == [1]
    assert await ids(["whole", "lte", 1]) == [3]
    assert await ids(["day", "gt", "2026-01-01"]) == [1, 4]
    assert await ids(["json", "eq", None]) == [1, 2, 3, 4]
    await change(adapter, "t", "orders", "1", {"json": [1]})
    await change(adapter, "t", "orders", "2", {"json": None})
    assert await ids(["json", "eq", None]) == [2, 3, 4]
    with pytest.raises(ComparisonInvalidError):
        await ids(order=["json"])
    page = await adapter.list("t", "orders", Query(order=parse_order(["-id"]), limit=2, offset=1))
    assert [row["id"] for row in page.rows] == [3, 2]


@pytest.mark.parametrize(
    "condition",
    [
        ["whole", "eq", "3"],
        ["whole", "gt", 1.5],
        ["whole", "like", "1%"],
        ["colour", "like", "R%"],
        ["day", "gt", "later"],
        ["flag", "eq", 1],
        ["whole", "in", [1, "2"]],
        ["whole", "gt", None],
        ["json", "eq", 1],
        ["json", "in", ["x"]],
    ],
)
async def test_conditions_that_do_not_go_with_their_field_are_refused(
    adapter: DataAdapter, condition: list[Any]
) -> None:
    with pytest.raises(ComparisonInvalidError):
        await listed(adapter, "orders", [condition])


async def test_like_knows_no_case_and_takes_an_escape(adapter: DataAdapter) -> None:
    for name in ("100%", "100 per cent", "Ada"):
        await create(adapter, "t", "people", {"name": name})
    assert [row["name"] for row in await listed(adapter, "people", [["name", "like", "100\\%"]])] == ["100%"]
    assert [row["name"] for row in await listed(adapter, "people", [["name", "like", "aD_"]])] == ["Ada"]


async def test_a_slow_query_is_stopped(adapter: DataAdapter, database: Database) -> None:
    async with database.engine.begin() as connection:
        rows = [{"organisation": "t", "name": "x", "life": "a" * 20_000} for _ in range(400)]
        await connection.execute(insert(people), rows)
    hasty = SqlAdapter(database, SURFACE, query_limit_s=0.01)
    where = [Condition("life", "like", "%" + "a_" * 48 + "b")]
    with pytest.raises(QueryTooSlowError):
        await hasty.count("t", "people", where)
    assert await hasty.get("t", "people", "nobody") is None


@pytest.mark.parametrize("kind", [LargeBinary, Interval])
def test_a_column_without_a_plain_form_is_found_out_at_the_start(database: Database, kind: Any) -> None:
    table = Table(
        "odd", MetaData(), Column("id", Integer, primary_key=True), Column("tenant_id", String), Column("x", kind)
    )
    with pytest.raises(ValueError, match=r"odd\.x"):
        SqlAdapter(database, Surface(entities=[Entity("odd", table, readable=("id", "x"))]))
