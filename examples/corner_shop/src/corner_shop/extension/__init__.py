"""All contact with Jackfield. The rest of the application knows what is listed here, and no more of the platform."""

from __future__ import annotations

from corner_shop.extension.host import Extension, Shown, configure_logging
from corner_shop.extension.plugins import DataChoice
from corner_shop.extension.publisher import PackError
from corner_shop.extension.surface import DashboardContext, ReportContext
from jackfield import VetoedError
from jackfield.errors import ForbiddenError, MissingError, UnavailableError
from jackfield.errors import JackfieldError as PlatformError
from jackfield_sdk.wire import Caller

__all__ = [
    "Caller",
    "DashboardContext",
    "DataChoice",
    "Extension",
    "ForbiddenError",
    "MissingError",
    "PackError",
    "PlatformError",
    "ReportContext",
    "Shown",
    "UnavailableError",
    "VetoedError",
    "configure_logging",
]
