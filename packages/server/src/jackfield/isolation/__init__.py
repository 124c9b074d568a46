"""Sealed execution: supervisor, zygote, isolates, pool, the doctor, behind one `Executor`."""

from __future__ import annotations

from jackfield.isolation.errors import IsolationError
from jackfield.isolation.figures import pool_figures
from jackfield.isolation.interfaces import (
    CallLimits,
    CallRequest,
    CallResult,
    Executor,
    HostCalls,
    IsolateSpec,
    LogLine,
    Status,
)
from jackfield.isolation.pool import IsolatePool, PoolSettings, PoolStats
from jackfield.isolation.supervisor import Supervisor

__all__ = [
    "CallLimits",
    "CallRequest",
    "CallResult",
    "Executor",
    "HostCalls",
    "IsolatePool",
    "IsolateSpec",
    "IsolationError",
    "LogLine",
    "PoolSettings",
    "PoolStats",
    "Status",
    "Supervisor",
    "pool_figures",
]
