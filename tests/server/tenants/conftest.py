"""Tenants and tokens are rows: all tests run on SQLite, then on PostgreSQL."""

from __future__ import annotations

import pytest

from jackfield.db import Database


@pytest.fixture
def database(either_database: Database) -> Database:
    return either_database
