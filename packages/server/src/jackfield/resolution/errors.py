"""Why there is no plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jackfield.errors import ConflictError, InvalidError

__all__ = [
    "DependencyConflictError",
    "DependencyCycleError",
    "DependencyMissingError",
    "HasDependantsError",
    "RangeInvalidError",
]


class RangeInvalidError(InvalidError):
    """A version range that cannot be read."""

    code = "range-invalid"
    default_hint = "Write ranges like `>=1.2,<2`, `^1.2`, `~1.2.3` or `*`."


class DependencyConflictError(ConflictError):
    """No choice of releases satisfies everyone.

    `data["explanation"]` has one sentence per reason, `data["plugin"]` names the plugin they disagree about.
    """

    code = "dependency-conflict"
    default_hint = "Choose another version, or remove one of the plugins that disagree."

    def __init__(self, plugin: str, explanation: Sequence[str]) -> None:
        super().__init__(" ".join(explanation), plugin=plugin, explanation=list(explanation))


class DependencyMissingError(ConflictError):
    """A plugin that is needed is not in the marketplace."""

    code = "dependency-missing"
    default_hint = "Ask the publisher of the plugin that needs it."

    def __init__(self, plugin: str, explanation: Sequence[str]) -> None:
        super().__init__(" ".join(explanation), plugin=plugin, explanation=list(explanation))


class DependencyCycleError(ConflictError):
    """Plugins that need one another in a circle: none of them could be installed first."""

    code = "dependency-cycle"
    default_hint = "Only a publisher can break the circle."

    def __init__(self, cycle: Sequence[str]) -> None:
        sentence = f"These plugins need one another in a circle: {' → '.join(cycle)}."
        super().__init__(sentence, cycle=list(cycle), explanation=[sentence])


class HasDependantsError(ConflictError):
    """Installed plugins need what should be removed. `data["dependants"]`: plugin → those that need it."""

    code = "has-dependants"
    default_hint = "Uninstall the dependants as well, or first."

    def __init__(self, dependants: Mapping[str, Sequence[str]]) -> None:
        sentences = [f"{slug} is needed by {', '.join(names)}." for slug, names in dependants.items()]
        super().__init__(
            " ".join(sentences),
            dependants={slug: list(names) for slug, names in dependants.items()},
            explanation=sentences,
        )
