"""Extension points: a trigger becomes an invocation. One file for each kind."""

from __future__ import annotations

from jackfield.extension_points.endpoints import acting, router
from jackfield.extension_points.errors import FilterAbortedError, VetoedError
from jackfield.extension_points.events import Events
from jackfield.extension_points.filters import FilterRun, Filters, FilterStep
from jackfield.extension_points.functions import FunctionError, FunctionMetrics, FunctionResult, Functions
from jackfield.extension_points.routes import Routes
from jackfield.extension_points.widgets import WidgetResult, Widgets

__all__ = [
    "Events",
    "FilterAbortedError",
    "FilterRun",
    "FilterStep",
    "Filters",
    "FunctionError",
    "FunctionMetrics",
    "FunctionResult",
    "Functions",
    "Routes",
    "VetoedError",
    "WidgetResult",
    "Widgets",
    "acting",
    "router",
]
