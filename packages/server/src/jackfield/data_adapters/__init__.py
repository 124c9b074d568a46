"""Where the host's entities live, and how plugins reach them: one Protocol, today in the host's own SQL database.

An adapter is told the tenant by the platform and narrows everything by it. What a plugin sends is only ever a value:
the names of entities and fields are looked up in the host's surface.
"""

from __future__ import annotations

from jackfield.data_adapters.conditions import Condition, Order, Scalar, check_conditions, parse_order
from jackfield.data_adapters.deadlines import query_deadline
from jackfield.data_adapters.errors import (
    ComparisonInvalidError,
    EntityConflictError,
    EntityNotFoundError,
    EntityNotOpenError,
    EntityReadOnlyError,
    FieldRefusedError,
    FieldValueError,
    QueryTooSlowError,
)
from jackfield.data_adapters.interfaces import DataAdapter
from jackfield.data_adapters.sql import SqlAdapter

__all__ = [
    "ComparisonInvalidError",
    "Condition",
    "DataAdapter",
    "EntityConflictError",
    "EntityNotFoundError",
    "EntityNotOpenError",
    "EntityReadOnlyError",
    "FieldRefusedError",
    "FieldValueError",
    "Order",
    "QueryTooSlowError",
    "Scalar",
    "SqlAdapter",
    "check_conditions",
    "parse_order",
    "query_deadline",
]
