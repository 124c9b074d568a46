"""What ran, for whom, at what cost and with what outcome; and who changed what."""

from __future__ import annotations

from jackfield.records.auditing import PLATFORM, audit
from jackfield.records.models import AuditEntry

__all__ = ["PLATFORM", "AuditEntry", "audit"]
