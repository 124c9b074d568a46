"""What is planned with, and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jackfield_sdk.manifest import Manifest

__all__ = ["Candidate", "Dependency", "Install", "Plan", "Step", "Uninstall", "Want", "candidate_of"]


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another plugin that a release needs; an optional one only has to fit when it is there."""

    slug: str
    versions: str = "*"
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A release that could be installed, or is.

    Attributes:
        platform: Range of platform versions that it runs on.
        is_yanked: Not chosen any more; where it is installed, it stays.
    """

    slug: str
    version: str
    requires: tuple[Dependency, ...] = ()
    platform: str = "*"
    is_yanked: bool = False

    def __str__(self) -> str:
        return f"{self.slug} {self.version}"


def candidate_of(manifest: Manifest, *, is_yanked: bool = False) -> Candidate:
    """The release that a manifest describes."""
    return Candidate(
        slug=manifest.slug,
        version=manifest.version,
        requires=tuple(Dependency(need.slug, need.versions, need.optional) for need in manifest.requires),
        platform=manifest.platform,
        is_yanked=is_yanked,
    )


@dataclass(frozen=True, slots=True)
class Install:
    """Have this plugin, in one of these versions. Of one that is installed it asks for an update."""

    slug: str
    versions: str = "*"


@dataclass(frozen=True, slots=True)
class Uninstall:
    """Have this plugin no longer.

    Args:
        with_dependants: Remove what needs it, too; otherwise that is a reason not to.
    """

    slug: str
    with_dependants: bool = False


Want = Install | Uninstall


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        version: After it; of an uninstall, the version that is removed.
        from_version: Before it, of an update.
        because: A sentence for the one who decides.
    """

    action: Literal["install", "update", "uninstall"]
    slug: str
    version: str
    from_version: str | None
    because: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order: what is needed comes before what needs it, what goes leaves after what needed it.

    Attributes:
        needs: Every installed plugin afterwards → the plugins it needs, for drawing the graph.
    """

    steps: tuple[Step, ...]
    needs: dict[str, tuple[str, ...]]
