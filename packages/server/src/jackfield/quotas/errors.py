"""What can be wrong about plans, quotas and limits."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError
from jackfield.http import TooManyRequestsError

__all__ = [
    "CapacityError",
    "InstallationUnknownError",
    "LimitAboveCeilingError",
    "LimitMissingError",
    "PlanFullError",
    "PlanInUseError",
    "PlanMissingError",
    "PlanNameInvalidError",
    "QuotaExceededError",
]


class QuotaExceededError(TooManyRequestsError):
    """A quota is used up; `data` has `quota`, `scope`, `limit`, `used` and `retry_after_s`."""

    code = "quota-exceeded"
    default_hint = "Wait for `retry_after_s` seconds; `GET /api/usage` shows what is left. A larger plan allows more."


class PlanFullError(ConflictError):
    """The tenant's plan allows no more plugins."""

    code = "plan-full"
    default_hint = "Uninstall a plugin, or ask the operator for a larger plan."

    def __init__(self, plan: str, limit: int, used: int, wanted: int) -> None:
        more = "1 more" if wanted == 1 else f"{wanted} more"
        super().__init__(
            f"the plan {plan} allows {limit} plugins; {used} are installed, and this needs {more}",
            plan=plan, quota="plugins", limit=limit, used=used, wanted=wanted,
        )  # fmt: skip


class PlanMissingError(MissingError):
    """There is no such plan."""

    code = "plan-not-found"
    default_hint = "`GET /api/plans` lists them."

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no plan {name[:80]!r}", plan=name[:80])


class PlanNameInvalidError(InvalidError):
    """A name that cannot be a plan's."""

    code = "plan-name-invalid"
    default_hint = "Use 1 to 64 lower-case letters, digits and `-`, beginning with a letter."


class PlanInUseError(ConflictError):
    """Tenants have the plan, or the settings name it."""

    code = "plan-in-use"
    default_hint = "Give those tenants another plan first."


class LimitAboveCeilingError(InvalidError):
    """More than the node's settings let an operator give."""

    code = "limit-above-ceiling"

    def __init__(self, name: str, asked: int, ceiling: int) -> None:
        super().__init__(
            f"{name}: {asked} is above the ceiling of {ceiling}",
            hint=f"Give at most {ceiling}, or raise JACKFIELD_CEILING_{name.upper()} and restart the nodes.",
            limit=name, asked=asked, ceiling=ceiling,
        )  # fmt: skip


class LimitMissingError(MissingError):
    """Nothing was set for this plugin or installation."""

    code = "limit-not-found"
    default_hint = "`GET /api/limits` lists what was set."


class InstallationUnknownError(MissingError):
    """No tenant has an installation of this id."""

    code = "installation-unknown"
    default_hint = "The plugin's details in its tenant have the installation's id."


class CapacityError(InvalidError):
    """The settings promise more than the machine has."""

    code = "limits-exceed-machine"
