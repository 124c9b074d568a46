"""Each kind of operation as a list of steps, told from its journalled data alone: after a crash they are told again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackfield.lifecycle.operations import Step
from jackfield.lifecycle.steps.activation import ActivateSteps, DeactivateSteps
from jackfield.lifecycle.steps.base import Tools
from jackfield.lifecycle.steps.configure import ConfigureSteps
from jackfield.lifecycle.steps.grants import GrantSteps
from jackfield.lifecycle.steps.install import InstallSteps, Package
from jackfield.lifecycle.steps.pending import PendingSteps
from jackfield.lifecycle.steps.quarantine import QuarantineSteps
from jackfield.lifecycle.steps.rollback import RollbackSteps
from jackfield.lifecycle.steps.trial import TrialSteps
from jackfield.lifecycle.steps.uninstall import UninstallSteps
from jackfield.lifecycle.steps.update import UpdateSteps

__all__ = ["KINDS", "Package", "Secrets", "Tools", "steps_of"]

Secrets = Mapping[str, str | None]
"""Name → value to store, None to remove it."""

_NONE: Secrets = {}

KINDS = (
    "install", "configure", "config-test", "set-grants", "await-consent",
    "activate", "deactivate", "quarantine", "update", "rollback", "uninstall",
)  # fmt: skip


def steps_of(kind: str, tools: Tools, data: Mapping[str, Any], secrets: Mapping[str, Secrets]) -> list[Step]:
    """The steps of an operation.

    Args:
        secrets: Installation → values to store. Never journalled, and never needed again: the first step of every
            kind is applied in the transaction that opens the operation, and only first steps store secrets.
    """
    one = next(iter(secrets.values()), _NONE)
    match kind:
        case "install":
            return InstallSteps(tools, data, secrets).steps()
        case "configure":
            return ConfigureSteps(tools, data, one).steps()
        case "config-test":
            return TrialSteps(tools, data, one).steps()
        case "set-grants":
            return GrantSteps(tools, data).steps()
        case "await-consent":
            return PendingSteps(tools, data).steps()
        case "activate":
            return ActivateSteps(tools, data).steps()
        case "deactivate":
            return DeactivateSteps(tools, data).steps()
        case "quarantine":
            return QuarantineSteps(tools, data).steps()
        case "update":
            return UpdateSteps(tools, data, one).steps()
        case "rollback":
            return RollbackSteps(tools, data).steps()
        case "uninstall":
            return UninstallSteps(tools, data).steps()
        case _:
            raise ValueError(f"no kind of operation is called {kind}")
