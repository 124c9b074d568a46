"""A plugin's own life-cycle handlers, run sealed like any other call and never inside a transaction."""

from __future__ import annotations

from typing import Literal, get_args

from jackfield.invocation import ActiveInstallation, Invocation
from jackfield.lifecycle.errors import PluginHookError
from jackfield.lifecycle.interfaces import Runner
from jackfield.lifecycle.operations import Actor
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller

__all__ = ["HookName", "declared", "run_handler", "run_hook"]

HookName = Literal["on_install", "on_activate", "on_configure", "on_deactivate", "on_update", "on_uninstall"]
_HOOKS: tuple[HookName, ...] = get_args(HookName)


def declared(manifest: Manifest) -> list[str]:
    """Names of the handlers that a plugin has; journalled, so that the steps can be told again after a crash."""
    return [name for name in _HOOKS if getattr(manifest.lifecycle, name) is not None]


async def run_hook(
    runner: Runner,
    installation: ActiveInstallation,
    name: HookName,
    actor: Actor | None,
    error: type[PluginHookError] = PluginHookError,
) -> None:
    """Run one handler; nothing happens when the plugin does not have it.

    Raises:
        PluginHookError: It did not return, as the given class. Its isolates are gone by then, so that nothing of it
            works on.
    """
    handler: str | None = getattr(installation.manifest.lifecycle, name)
    if handler is not None:
        await run_handler(runner, installation, name, handler, actor, error)


async def run_handler(
    runner: Runner,
    installation: ActiveInstallation,
    name: str,
    handler: str,
    actor: Actor | None,
    error: type[PluginHookError],
    *,
    timeout_ms: int | None = None,
) -> None:
    """Run a handler as a step of an operation; `name` is what it is called in the records.

    Raises:
        PluginHookError: As for `run_hook`.
    """
    outcome = await runner.run(
        Invocation(
            installation, "lifecycle", name, handler, None, timeout_ms or installation.manifest.lifecycle.timeout_ms,
            Caller(actor.id, actor.role) if actor else None,
        )
    )  # fmt: skip
    if outcome.is_ok:
        return
    await runner.retire(installation.id)
    failure = outcome.failure
    message = failure.message if failure and failure.message else f"{name} ended with {outcome.status}"
    told = {"code": failure.code, "message": failure.message, "hint": failure.hint} if failure else {}
    raise error(
        message, hook=name, slug=installation.slug, outcome=outcome.status, plugin_error=told,
        invocation_id=outcome.invocation_id,
    )  # fmt: skip
