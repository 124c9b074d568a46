"""All contact with Jackfield. The rest of the application knows what is listed here and nothing else of the platform."""

from __future__ import annotations

from jackfield import VetoedError
from jackfield.errors import JackfieldError as PlatformError
from jackfield_sdk.wire import Caller

from corner_shop.extension.host import Extension, Shown
from corner_shop.extension.surface import DashboardContext, ReportContext

__all__ = ["Caller", "DashboardContext", "Extension", "PlatformError", "ReportContext", "Shown", "VetoedError"]
