"""The one door to plugin code: limits, grants, isolate, record. Every kind of trigger goes through it."""

from __future__ import annotations

from jackfield.invocation.interfaces import Admission, LimitSource
from jackfield.invocation.models import ActiveInstallation, Invocation, Kind, Outcome, Status
from jackfield.invocation.service import Invoker, RecordSink

__all__ = [
    "ActiveInstallation",
    "Admission",
    "Invocation",
    "Invoker",
    "Kind",
    "LimitSource",
    "Outcome",
    "RecordSink",
    "Status",
]
