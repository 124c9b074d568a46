"""What can be wrong with a request to install, change or remove a plugin. Each error has one stable code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError

__all__ = [
    "ActivationFailedError",
    "AlreadyInstalledError",
    "ConfigCheckFailedError",
    "ConfigInvalidError",
    "ConfigSchemaError",
    "ConfigureFailedError",
    "DependantsActiveError",
    "DependenciesInactiveError",
    "DependencyConsentMissingError",
    "DevelopmentOverPublishedError",
    "EntityUnknownError",
    "EventDependencyError",
    "EventUnknownError",
    "ExportFailedError",
    "ExportNotFoundError",
    "GrantNotHeldError",
    "GrantsMissingError",
    "GrantsUnknownError",
    "GrantsWithdrawnError",
    "HookUnknownError",
    "InstallFailedError",
    "InstanceInvalidError",
    "InterruptedStepError",
    "KeptDataOlderError",
    "MigrationFailedError",
    "NeedsConfigurationError",
    "NoWayBackError",
    "NotInstalledError",
    "NotNowError",
    "NothingPendingError",
    "OperationInProgressError",
    "OperationTakenOverError",
    "PluginHookError",
    "RemovalFailedError",
    "ReplayUnclearError",
    "SecretUnknownError",
    "SlotUnknownError",
    "SurfaceMismatchError",
    "TableUnknownError",
    "UpdateFailedError",
    "UpdateNeededError",
    "UpdateNeedsPluginError",
    "UpdateNotNewerError",
    "UpdateTooLargeError",
]


class NotNowError(ConflictError):
    """The installation's state does not allow it."""

    code = "state-conflict"

    def __init__(self, state: str, event: str, meaning: str) -> None:
        super().__init__(f"not possible while it is {state}", hint=f"{state}: {meaning}", state=state, event=event)


class SecretUnknownError(MissingError):
    """The plugin's configuration has no such secret."""

    code = "secret-unknown"
    default_hint = "GET /api/plugins/{slug}/secrets lists those there are; other fields are set with the configuration."

    def __init__(self, slug: str, name: str) -> None:
        super().__init__(f"the configuration of {slug} has no secret `{name[:64]}`", slug=slug, name=name[:64])


class NotInstalledError(MissingError):
    """This tenant has no such installation."""

    code = "not-installed"
    default_hint = "GET /api/plugins lists what is installed."

    def __init__(self, slug: str) -> None:
        super().__init__(f"{slug} is not installed", slug=slug)


class AlreadyInstalledError(ConflictError):
    """The tenant has it already."""

    code = "already-installed"
    default_hint = "Change its configuration or grants, or name another `instance` to have it a second time."

    def __init__(self, slug: str, instance: str, version: str) -> None:
        super().__init__(f"{slug} {version} is installed already", slug=slug, instance=instance, version=version)


class UpdateNotNewerError(ConflictError):
    """There is nothing to update to."""

    code = "update-not-newer"
    default_hint = "GET /api/marketplace/{slug}/releases lists the releases there are."

    def __init__(self, slug: str, installed: str, version: str) -> None:
        said = "is what is installed" if installed == version else f"is older than {installed}, which is installed"
        super().__init__(f"{slug} {version} {said}", slug=slug, installed=installed, version=version)


class UpdateTooLargeError(ConflictError):
    """The installation has more data than is moved to another release at once."""

    code = "update-too-large"
    default_hint = "Delete what is not needed, or have an operator raise JACKFIELD_UPDATE_ROWS."

    def __init__(self, slug: str, version: str, rows: int, limit: int) -> None:
        super().__init__(
            f"{slug} {version} has to move {rows} rows and keys, at most {limit} are moved at once",
            slug=slug, version=version, rows=rows, limit=limit,
        )  # fmt: skip


class KeptDataOlderError(ConflictError):
    """Data that was kept is from a release before migrations that are in the one to be installed."""

    code = "kept-data-older"

    def __init__(self, slug: str, version: str, kept: str, migrations: Iterable[str]) -> None:
        names = sorted(migrations)
        super().__init__(
            f"the data that was kept of {slug} is of {kept}, and {version} migrates it: {', '.join(names)}",
            hint=f"Install {kept}, then update.", slug=slug, version=version, kept_version=kept, migrations=names,
        )  # fmt: skip


class TableUnknownError(MissingError):
    """The release that is installed has no such table."""

    code = "table-not-found"
    default_hint = "GET /api/plugins/{slug}/tables lists its tables."

    def __init__(self, slug: str, table: str, tables: Iterable[str]) -> None:
        super().__init__(f"{slug} has no table {table[:48]}", slug=slug, table=table[:48], tables=sorted(tables))


class NoWayBackError(ConflictError):
    """There is no release to go back to, or not that one, or its data cannot be had."""

    code = "no-way-back"
    default_hint = "GET /api/plugins/{slug}/history says which releases can be gone back to."

    def __init__(self, slug: str, why: str, **data: Any) -> None:
        super().__init__(f"{slug}: {why}", slug=slug, **data)


class DevelopmentOverPublishedError(ConflictError):
    """A development release would take over the data and secrets that were given to a published one."""

    code = "development-over-published"
    default_hint = "Uninstall the published release first, or develop in a tenant of its own."

    def __init__(self, slug: str, installed: str) -> None:
        super().__init__(f"{slug} {installed} is installed from the marketplace", slug=slug, installed=installed)


class InstanceInvalidError(InvalidError):
    """The name of an instance has characters that it may not have."""

    code = "instance-invalid"
    default_hint = "Lower-case letters, digits and hyphens, beginning with a letter, at most 40."

    def __init__(self, instance: str) -> None:
        super().__init__(f"{instance[:60]!r} cannot name an instance", instance=instance[:60])


class OperationInProgressError(ConflictError):
    """Another operation holds the plugin or one that it depends on."""

    code = "operation-in-progress"
    default_hint = "Try again when it has ended."

    def __init__(self, slug: str, kind: str, operation_id: str | None) -> None:
        super().__init__(f"{slug}: another operation ({kind}) is in progress", slug=slug, kind=kind)
        self.operation_id = operation_id


class OperationTakenOverError(ConflictError):
    """This node had lost the database, or seemed dead; another one goes on with the operation."""

    code = "operation-taken-over"
    default_hint = "Look at the plugin's state in a moment: the operation is finished, or undone, elsewhere."

    def __init__(self, slug: str, kind: str) -> None:
        super().__init__(f"{slug}: another node goes on with this {kind}", slug=slug, kind=kind)


# -- consent --------------------------------------------------------------------------------------------------------


class GrantNotHeldError(ForbiddenError):
    """Somebody would give a plugin more than their own role has. `data["where"]`: the rows that they have."""

    code = "grant-not-held"
    default_hint = "Ask somebody whose role has it: an owner, as a rule."

    def __init__(self, permission: str, role: str, where: list[Any] | None = None) -> None:
        if where is None:
            super().__init__(f"the role {role} does not have `{permission}` itself", permission=permission, role=role)
        else:
            super().__init__(
                f"the role {role} has `{permission}` for some rows only",
                hint="Narrow the grant to these rows (`where`), or ask somebody whose role has all of them.",
                permission=permission, role=role, where=where,
            )  # fmt: skip


class ReplayUnclearError(InvalidError):
    """A replay of everything that there is."""

    code = "replay-unclear"
    default_hint = "Name `ids`, or a `plugin`, an `event` or `since`. With `dry_run` it is only counted."


class GrantsMissingError(InvalidError):
    """A permission that the plugin cannot do without is not granted."""

    code = "grants-missing"
    default_hint = (
        "Show the tenant what each permission means and why it is asked for; grant all of them or do not install."
    )

    def __init__(self, slug: str, missing: Iterable[str]) -> None:
        names = sorted(missing)
        super().__init__(f"{slug} needs {', '.join(names)}", slug=slug, missing=names)


class GrantsUnknownError(InvalidError):
    """A grant for something that the plugin does not ask for."""

    code = "grants-unknown"
    default_hint = (
        "Grant only what the manifest asks for: a right that nobody reads about is a right that nobody agreed to."
    )

    def __init__(self, slug: str, unknown: Iterable[str]) -> None:
        names = sorted(unknown)
        super().__init__(f"{slug} does not ask for {', '.join(names)}", slug=slug, unknown=names)


class GrantsWithdrawnError(ConflictError):
    """It lost a permission that it cannot work without."""

    code = "grants-withdrawn"
    default_hint = "PUT the grants, then activate."

    def __init__(self, slug: str, missing: Iterable[str]) -> None:
        names = sorted(missing)
        super().__init__(f"{slug} cannot work without {', '.join(names)}", slug=slug, missing=names)


class NothingPendingError(ConflictError):
    """No update waits for consent."""

    code = "nothing-pending"
    default_hint = "It was continued, given up, or never begun: GET /api/plugins/{slug} shows how it stands."

    def __init__(self, slug: str) -> None:
        super().__init__(f"no update of {slug} waits for consent", slug=slug)


class DependencyConsentMissingError(InvalidError):
    """Another plugin has to be installed too, and asks for permissions that nobody has given."""

    code = "dependency-consent-missing"
    default_hint = "Give each plugin its grants in `grants_for`, or install it first."

    def __init__(self, slug: str, missing: Mapping[str, list[str]]) -> None:
        wants = "; ".join(f"{other} needs {', '.join(names)}" for other, names in sorted(missing.items()))
        super().__init__(f"{slug} brings other plugins along: {wants}", slug=slug, missing=dict(missing))


# -- configuration --------------------------------------------------------------------------------------------------


class ConfigInvalidError(InvalidError):
    """The configuration does not fit the schema. `data["errors"]` has one `{path, message}` each, without values."""

    code = "config-invalid"
    default_hint = "The schema is part of the plan and of the plugin's details."

    def __init__(self, slug: str, errors: list[dict[str, str]]) -> None:
        first = errors[0]
        where = f"{first['path']}: " if first["path"] else ""
        super().__init__(f"configuration of {slug}: {where}{first['message']}", slug=slug, errors=errors)


class ConfigSchemaError(InvalidError):
    """The plugin's own configuration schema cannot be used: broken, reaching out of itself, or costly without bound."""

    code = "config-schema-invalid"
    default_hint = "Tell the plugin's author."

    def __init__(self, slug: str, why: str) -> None:
        super().__init__(f"the configuration schema of {slug} cannot be used: {why}", slug=slug)


class NeedsConfigurationError(ConflictError):
    """It cannot work before fields without a default have a value."""

    code = "needs-configuration"
    default_hint = "PUT the configuration, then activate."

    def __init__(self, slug: str, missing: Iterable[str]) -> None:
        names = sorted(missing)
        super().__init__(f"{slug} needs {', '.join(names)}", slug=slug, missing=names)


# -- what the host offers ---------------------------------------------------------------------------------------------


class SurfaceMismatchError(InvalidError):
    """The plugin was made for a host that offers more. `data["problems"]` has all of them, as `{code, name}`."""

    code = "surface-mismatch"
    default_hint = "The host does not offer this. Look for a release that was made for it."
    noun: ClassVar[str] = "part"

    def __init__(self, slug: str, name: str, problems: list[dict[str, str]]) -> None:
        super().__init__(f"{slug} uses {self.noun} {name}, which this host does not have", slug=slug, problems=problems)


class HookUnknownError(SurfaceMismatchError):
    """A filter for a hook point that the host does not declare."""

    code = "hook-unknown"
    noun = "hook point"


class EventUnknownError(SurfaceMismatchError):
    """A handler of an event that neither the host nor another plugin sends."""

    code = "event-unknown"
    noun = "event"


class EventDependencyError(SurfaceMismatchError):
    """A handler of another plugin's event, without a declared dependency on that plugin."""

    code = "event-dependency-missing"
    default_hint = "Name the plugin that sends it in `requires`, with a version range."
    noun = "the event of another plugin without needing it:"


class SlotUnknownError(SurfaceMismatchError):
    """A widget for a slot that the host's pages do not have."""

    code = "slot-unknown"
    noun = "slot"


class EntityUnknownError(SurfaceMismatchError):
    """A permission for an entity that the host does not open."""

    code = "entity-unknown"
    noun = "entity"


# -- dependencies -----------------------------------------------------------------------------------------------------


class UpdateNeededError(ConflictError):
    """A plugin that is installed would have to be of another version."""

    code = "dependency-update-needed"
    default_hint = "Uninstall the plugin with `data=keep` and install the version that is named."

    def __init__(self, slug: str, other: str, version: str, because: str) -> None:
        super().__init__(f"{slug} needs {other} {version}. {because}", slug=slug, plugin=other, version=version)


class UpdateNeedsPluginError(ConflictError):
    """The new release needs a plugin that is not installed."""

    code = "update-needs-plugin"
    default_hint = "Install it first."

    def __init__(self, slug: str, other: str, version: str, because: str) -> None:
        super().__init__(f"{slug} needs {other}. {because}", slug=slug, plugin=other, version=version)


class DependenciesInactiveError(ConflictError):
    """Plugins that it needs are not active."""

    code = "dependencies-inactive"
    default_hint = "Activate them first."

    def __init__(self, slug: str, inactive: Iterable[str]) -> None:
        names = sorted(inactive)
        super().__init__(f"{slug} needs {', '.join(names)} to be active", slug=slug, inactive=names)


class DependantsActiveError(ConflictError):
    """Active plugins need this one."""

    code = "dependants-active"
    default_hint = "Deactivate them first."

    def __init__(self, slug: str, dependants: Iterable[str]) -> None:
        names = sorted(dependants)
        super().__init__(f"{', '.join(names)} need {slug}", slug=slug, dependants=names)


# -- failures while it is done -----------------------------------------------------------------------------------------


class PluginHookError(ConflictError):
    """The plugin's own handler refused or broke; the message is the plugin's.

    `data["plugin_error"]` holds the plugin's code, message and hint; `data["outcome"]` how the call ended.
    """

    code = "plugin-hook-failed"
    default_hint = "The plugin's errors have the trace: GET /api/plugins/{slug}/errors."


class InstallFailedError(PluginHookError):
    """`on_install` failed; everything was undone and nothing is left of it."""

    code = "install-failed"
    default_hint = "Nothing of it was left behind. The message comes from the plugin."


class ActivationFailedError(PluginHookError):
    """`on_activate` failed; it stays installed and inactive."""

    code = "activation-failed"


class ConfigureFailedError(PluginHookError):
    """`on_configure` refused the configuration; the old one stays."""

    code = "configure-failed"
    default_hint = "The old configuration is still in force. The message comes from the plugin."


class UpdateFailedError(PluginHookError):
    """`on_update` of the new release failed; the old one works on."""

    code = "update-failed"
    default_hint = "The old release is still at work. The message comes from the new one."


class MigrationFailedError(PluginHookError):
    """A migration failed; the release that was there works on, with its data."""

    code = "migration-failed"
    default_hint = "The old release is still at work, and its data is as it was. The message comes from the new one."


class ConfigCheckFailedError(PluginHookError):
    """The plugin's check of a configuration could not be run to its end."""

    code = "config-check-failed"


class InterruptedStepError(UnavailableError):
    """The node stopped in the middle of a step; nobody knows how far it came."""

    code = "interrupted"
    default_hint = "It was cleared up when the node started again. Try once more."

    def __init__(self, step: str) -> None:
        super().__init__(f"the node stopped during {step}", step=step)


class ExportFailedError(UnavailableError):
    """The export could not be written; nothing was removed."""

    code = "export-failed"
    default_hint = "Nothing was removed. See to the disk of the node and try again."


class RemovalFailedError(UnavailableError):
    """The data could not be removed; it is not running any more."""

    code = "removal-failed"
    default_hint = "Uninstall it once more."


class ExportNotFoundError(MissingError):
    """This tenant has no such export."""

    code = "export-not-found"

    def __init__(self) -> None:
        super().__init__("there is no such export")
