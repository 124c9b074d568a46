"""Whether plugins are well: checks on a schedule, circuit breakers, crash loops and quarantine.

`Watch` stands before the one door to plugin code and sees how every call ends. It keeps calls away from a handler that
fails and fails (`breakers`), and from an installation whose processes die and die (`crash_loops`), and knows what has
run since its last check. `Health` does what takes time: it asks plugins how they are, takes those from work that
only die, tells the tenant (`announcing`), and answers for all of it.
"""

from __future__ import annotations

from jackfield.health.breaker_book import BREAKERS
from jackfield.health.doctor import examine
from jackfield.health.endpoints import operators_router, router
from jackfield.health.figures import breaker_figures
from jackfield.health.models import HealthCheckRow
from jackfield.health.service import Health, HealthReport
from jackfield.health.watch import Watch

__all__ = [
    "BREAKERS",
    "Health",
    "HealthCheckRow",
    "HealthReport",
    "Watch",
    "breaker_figures",
    "examine",
    "operators_router",
    "router",
]
