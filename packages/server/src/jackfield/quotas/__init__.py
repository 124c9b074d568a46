"""What a plan allows a tenant and its plugins, how much of it is used, and when it refills; what one call may use.

`Quotas` stands before the door to plugin code, and keeps all nodes agreed on what was used. `Operating` is what
operators decide, `UsageReader` what people read. `capacity` refuses to start a node whose settings promise more than
its machine has.
"""

from __future__ import annotations

from jackfield.quotas.capacity import Capacity, Machine, capacity_of, check
from jackfield.quotas.endpoints import router
from jackfield.quotas.errors import (
    CapacityError,
    InstallationUnknownError,
    LimitAboveCeilingError,
    LimitMissingError,
    PlanFullError,
    PlanInUseError,
    PlanMissingError,
    PlanNameInvalidError,
    QuotaExceededError,
)
from jackfield.quotas.interfaces import Holding, Inventory
from jackfield.quotas.ledger import QuotaFailure
from jackfield.quotas.limits import LIMIT_NAMES, LimitBook, effective
from jackfield.quotas.operating import RULES, Operating
from jackfield.quotas.plans import Policy, Space, policy_of
from jackfield.quotas.repository import purge
from jackfield.quotas.service import Quotas, exceeded
from jackfield.quotas.usage import PluginUsage, QuotaUsage, Usage, UsageReader

__all__ = [
    "LIMIT_NAMES",
    "RULES",
    "Capacity",
    "CapacityError",
    "Holding",
    "InstallationUnknownError",
    "Inventory",
    "LimitAboveCeilingError",
    "LimitBook",
    "LimitMissingError",
    "Machine",
    "Operating",
    "PlanFullError",
    "PlanInUseError",
    "PlanMissingError",
    "PlanNameInvalidError",
    "PluginUsage",
    "Policy",
    "QuotaExceededError",
    "QuotaFailure",
    "QuotaUsage",
    "Quotas",
    "Space",
    "Usage",
    "UsageReader",
    "capacity_of",
    "check",
    "effective",
    "exceeded",
    "policy_of",
    "purge",
    "router",
]
