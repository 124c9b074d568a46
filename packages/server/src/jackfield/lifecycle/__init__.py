"""What tenants do with plugins: plan, install, configure, grant, activate, update, uninstall; and what works where.

An installation's state changes by one table (`states`). Every change is an operation of journalled steps (`journal`,
`steps`) that is finished or undone whatever happens in between; `Lifecycle.recover` sees to it when a node starts.
What the rest of the platform dispatches to comes from `ActiveInstallations`.
"""

from __future__ import annotations

from jackfield.lifecycle.active import ActiveInstallations, TenantPlugins
from jackfield.lifecycle.consent import Grant
from jackfield.lifecycle.delivery_endpoints import delivery_log_router, every_delivery_router
from jackfield.lifecycle.development import DEVELOPMENT_PATH, development_router
from jackfield.lifecycle.endpoints import Plugin, actor_of, router
from jackfield.lifecycle.every_delivery import EveryDelivery
from jackfield.lifecycle.history import Kept
from jackfield.lifecycle.interfaces import Catalogue, HealthNote, HealthNotes, LeftAlone, Runner
from jackfield.lifecycle.inventory import Inventory
from jackfield.lifecycle.journal import INSTALLATIONS
from jackfield.lifecycle.keeping_endpoints import keeping_router
from jackfield.lifecycle.live_grants import LiveGrants
from jackfield.lifecycle.operations import Actor
from jackfield.lifecycle.permission_endpoints import permissions_router
from jackfield.lifecycle.planning import InstallPlan, RollbackPlan, UninstallPlan, UpdatePlan
from jackfield.lifecycle.reading_endpoints import deliveries_router, reading_router
from jackfield.lifecycle.service import Lifecycle
from jackfield.lifecycle.snapshots import Snapshots
from jackfield.lifecycle.states import MEANINGS, State
from jackfield.lifecycle.views import ConfigTest, Installed, Removed, RolledBack

__all__ = [
    "DEVELOPMENT_PATH",
    "INSTALLATIONS",
    "MEANINGS",
    "ActiveInstallations",
    "Actor",
    "Catalogue",
    "ConfigTest",
    "EveryDelivery",
    "Grant",
    "HealthNote",
    "HealthNotes",
    "InstallPlan",
    "Installed",
    "Inventory",
    "Kept",
    "LeftAlone",
    "Lifecycle",
    "LiveGrants",
    "Plugin",
    "Removed",
    "RollbackPlan",
    "RolledBack",
    "Runner",
    "Snapshots",
    "State",
    "TenantPlugins",
    "UninstallPlan",
    "UpdatePlan",
    "actor_of",
    "deliveries_router",
    "delivery_log_router",
    "development_router",
    "every_delivery_router",
    "keeping_router",
    "permissions_router",
    "reading_router",
    "router",
]
