"""The SQL adapter passes the suite of all adapters, on both databases."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import Boolean, Column, Date, Float, ForeignKey, Integer, MetaData, String, Table

from jackfield.data_adapters import DataAdapter, SqlAdapter
from jackfield.db import Database
from jackfield.surface import Entity, Surface
from tests.server.data_adapters.suite import AdapterSuite

metadata = MetaData()
people = Table(
    "suite_people",
    metadata,
    Column("id", String(40), primary_key=True, default=lambda: uuid4().hex),
    Column("tenant_id", String(40), nullable=False),
    Column("name", String(20), nullable=False),
    Column("code", String(20)),
    Column("age", Integer),
    Column("secret_note", String(20), default="secret"),
)
orders = Table(
    "suite_orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", String(40), nullable=False),
    Column("person", ForeignKey("suite_people.id")),
    Column("amount", Integer),
    Column("price", Float),
    Column("paid", Boolean),
    Column("day", Date),
)
_PERSON, _ORDER = ("name", "code", "age"), ("person", "amount", "price", "paid", "day")
SURFACE = Surface(
    entities=[
        Entity("people", people, readable=("id", *_PERSON), writable=_PERSON),
        Entity("orders", orders, readable=("id", *_ORDER), writable=_ORDER),
        Entity("names", people, readable=("id", "name")),
    ]
)


class TestSqlAdapter(AdapterSuite):
    @pytest.fixture
    async def adapter(self, either_database: Database) -> DataAdapter:
        async with either_database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        return SqlAdapter(either_database, SURFACE)
