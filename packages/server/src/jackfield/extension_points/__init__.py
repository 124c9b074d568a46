"""Extension points: a trigger becomes an invocation. One file for each kind."""

from __future__ import annotations

from jackfield.extension_points.between import PluginCalls
from jackfield.extension_points.contexts import CallerContext, read_context
from jackfield.extension_points.delivering import Delivering, Subscribing
from jackfield.extension_points.endpoints import acting, plugin_routes, router, spoken
from jackfield.extension_points.errors import FilterAbortedError, VetoedError
from jackfield.extension_points.events import Events
from jackfield.extension_points.filters import FilterRun, Filters, FilterStep
from jackfield.extension_points.functions import FunctionError, FunctionMetrics, FunctionResult, Functions
from jackfield.extension_points.routes import Routes
from jackfield.extension_points.schedule_endpoints import schedules_router
from jackfield.extension_points.schedules import ScheduleHandlers
from jackfield.extension_points.webhook_endpoints import webhooks_router
from jackfield.extension_points.webhooks import Webhooks
from jackfield.extension_points.widgets import WidgetResult, Widgets

__all__ = [
    "CallerContext",
    "Delivering",
    "Events",
    "FilterAbortedError",
    "FilterRun",
    "FilterStep",
    "Filters",
    "FunctionError",
    "FunctionMetrics",
    "FunctionResult",
    "Functions",
    "PluginCalls",
    "Routes",
    "ScheduleHandlers",
    "Subscribing",
    "VetoedError",
    "Webhooks",
    "WidgetResult",
    "Widgets",
    "acting",
    "plugin_routes",
    "read_context",
    "router",
    "schedules_router",
    "spoken",
    "webhooks_router",
]
