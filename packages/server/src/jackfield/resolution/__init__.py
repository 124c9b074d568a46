"""Which releases fit together. Values in, a plan out; nothing is looked up, so everything can be tried without effect.

`plan(want, have, catalogue)` answers install, update and uninstall alike: the steps in the order in which they must be
taken, or an error whose `data["explanation"]` says in sentences why there is no plan.
"""

from __future__ import annotations

from jackfield.resolution.errors import (
    DependencyConflictError,
    DependencyCycleError,
    DependencyMissingError,
    HasDependantsError,
    RangeInvalidError,
)
from jackfield.resolution.models import Candidate, Dependency, Install, Plan, Step, Uninstall, candidate_of
from jackfield.resolution.planning import plan
from jackfield.resolution.ranges import VersionRange, newest

__all__ = [
    "Candidate",
    "Dependency",
    "DependencyConflictError",
    "DependencyCycleError",
    "DependencyMissingError",
    "HasDependantsError",
    "Install",
    "Plan",
    "RangeInvalidError",
    "Step",
    "Uninstall",
    "VersionRange",
    "candidate_of",
    "newest",
    "plan",
]
