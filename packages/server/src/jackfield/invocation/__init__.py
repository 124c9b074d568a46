"""The one door to plugin code: limits, grants, isolate, record. Every kind of trigger goes through it."""

from __future__ import annotations

from jackfield.invocation.models import ActiveInstallation, Invocation, Kind, Outcome, Status

__all__ = ["ActiveInstallation", "Invocation", "Kind", "Outcome", "Status"]
