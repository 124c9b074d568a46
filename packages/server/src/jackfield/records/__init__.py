"""What ran, for whom, at what cost and with what outcome; and who changed what. Rows are added, and dropped when old.

`Recorder.record` takes what ran; `audit` adds who changed what to the transaction of the change; `Records` answers
questions.
"""

from __future__ import annotations

from jackfield.records.auditing import PLATFORM, audit
from jackfield.records.endpoints import router
from jackfield.records.errors import LogLevelError, SinceInvalidError
from jackfield.records.exposition import cached, metrics_router
from jackfield.records.figures import Figures, node_figures
from jackfield.records.models import AuditEntry, InvocationRow, LogRow
from jackfield.records.record import DRY_RUN, FAILURES, InvocationRecord, LogLine
from jackfield.records.recorder import Recorder
from jackfield.records.repository import inventory, purge
from jackfield.records.schemas import AuditEntryOut, InvocationOut, LogLineOut, StatsOut
from jackfield.records.service import InstallationStats, Records, Step
from jackfield.records.uses import Use, UserUse

__all__ = [
    "DRY_RUN",
    "FAILURES",
    "PLATFORM",
    "AuditEntry",
    "AuditEntryOut",
    "Figures",
    "InstallationStats",
    "InvocationOut",
    "InvocationRecord",
    "InvocationRow",
    "LogLevelError",
    "LogLine",
    "LogLineOut",
    "LogRow",
    "Recorder",
    "Records",
    "SinceInvalidError",
    "StatsOut",
    "Step",
    "Use",
    "UserUse",
    "audit",
    "cached",
    "inventory",
    "metrics_router",
    "node_figures",
    "purge",
    "router",
]
