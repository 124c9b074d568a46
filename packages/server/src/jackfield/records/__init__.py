"""What ran, for whom, at what cost and with what outcome; and who changed what. Rows are added, and dropped when old.

`Recorder.record` takes what ran; `audit` adds who changed what to the transaction of the change; `Records` answers
questions.
"""

from __future__ import annotations

from jackfield.records.endpoints import router
from jackfield.records.errors import (
    AuditFilterInvalidError,
    AuditHeadInvalidError,
    AuditKeyMissingError,
    LogLevelError,
    RetentionInvalidError,
    RetentionKindError,
    RetentionTooLongError,
    SinceInvalidError,
)
from jackfield.records.exposition import Source, cached, metrics_router
from jackfield.records.figures import Figures, node_figures
from jackfield.records.models import AuditEntry, InvocationRow, LogRow
from jackfield.records.record import DRY_RUN, FAILURES, InvocationRecord, LogLine
from jackfield.records.recorder import Recorder
from jackfield.records.repository import inventory, purge
from jackfield.records.retention import Kind, Retention, Rows, TrailRows, record_kinds
from jackfield.records.retention_endpoints import retention_router
from jackfield.records.schemas import AuditEntryOut, InvocationOut, LogLineOut, StatsOut
from jackfield.records.service import InstallationStats, Records, Step
from jackfield.records.trail.anchors import Anchors
from jackfield.records.trail.chain import AuditKeys
from jackfield.records.trail.reading import AuditFilter, Trail
from jackfield.records.trail.writing import PLATFORM, audit, use_keys
from jackfield.records.uses import Use, UserUse

__all__ = [
    "DRY_RUN",
    "FAILURES",
    "PLATFORM",
    "Anchors",
    "AuditEntry",
    "AuditEntryOut",
    "AuditFilter",
    "AuditFilterInvalidError",
    "AuditHeadInvalidError",
    "AuditKeyMissingError",
    "AuditKeys",
    "Figures",
    "InstallationStats",
    "InvocationOut",
    "InvocationRecord",
    "InvocationRow",
    "Kind",
    "LogLevelError",
    "LogLine",
    "LogLineOut",
    "LogRow",
    "Recorder",
    "Records",
    "Retention",
    "RetentionInvalidError",
    "RetentionKindError",
    "RetentionTooLongError",
    "Rows",
    "SinceInvalidError",
    "Source",
    "StatsOut",
    "Step",
    "Trail",
    "TrailRows",
    "Use",
    "UserUse",
    "audit",
    "cached",
    "inventory",
    "metrics_router",
    "node_figures",
    "purge",
    "record_kinds",
    "retention_router",
    "router",
    "use_keys",
]
