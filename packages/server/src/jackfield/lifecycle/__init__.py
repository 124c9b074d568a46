"""What tenants do with plugins: plan, install, configure, grant, activate, update, uninstall; and what works where.

An installation's state changes by one table (`states`). Every change is an operation of journalled steps (`journal`,
`steps`) that is finished or undone whatever happens in between; `Lifecycle.recover` sees to it when a node starts.
What the rest of the platform dispatches to comes from `ActiveInstallations`.
"""

from __future__ import annotations

from jackfield.lifecycle.active import ActiveInstallations, TenantPlugins
from jackfield.lifecycle.development import DEVELOPMENT_PATH, development_router
from jackfield.lifecycle.endpoints import Plugin, actor_of, router
from jackfield.lifecycle.interfaces import Catalogue, HealthNote, HealthNotes, Runner
from jackfield.lifecycle.inventory import Inventory
from jackfield.lifecycle.operations import Actor
from jackfield.lifecycle.planning import InstallPlan, UninstallPlan, UpdatePlan
from jackfield.lifecycle.reading_endpoints import deliveries_router, reading_router
from jackfield.lifecycle.service import Lifecycle
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.views import ConfigTest, Installed, Removed

__all__ = [
    "DEVELOPMENT_PATH",
    "MEANINGS",
    "ActiveInstallations",
    "Actor",
    "Catalogue",
    "ConfigTest",
    "HealthNote",
    "HealthNotes",
    "InstallPlan",
    "Installed",
    "Inventory",
    "Lifecycle",
    "Plugin",
    "Removed",
    "Runner",
    "Snapshots",
    "State",
    "TenantPlugins",
    "UninstallPlan",
    "UpdatePlan",
    "actor_of",
    "deliveries_router",
    "development_router",
    "reading_router",
    "router",
]
