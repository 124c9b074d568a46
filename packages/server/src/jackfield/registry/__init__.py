"""Publishers, their keys, and what they publish: packages are taken in here, checked, stored and found again.

A release is offered only after its package was read strictly, its signature verified by a key of its publisher, its
source compiled and imported again in a sealed process, and both found to be what the signed list and manifest say.
After that nothing of it changes; a release can only be withdrawn.
"""

from __future__ import annotations

from jackfield.registry.development import Development, is_development
from jackfield.registry.endpoints import MEDIA_TYPE, UPLOAD_PATH, router
from jackfield.registry.errors import (
    BytecodeMismatchError,
    DevelopmentLimitError,
    KeyInvalidError,
    KeyMissingError,
    KeyProofInvalidError,
    KeyTakenError,
    ManifestMismatchError,
    MediaTypeUnsupportedError,
    PackageRefusedError,
    PluginMissingError,
    PluginNotYoursError,
    PublisherMissingError,
    PublishInProgressError,
    ReleaseMissingError,
    SealingUnavailableError,
    SlugConfusableError,
    SlugReservedError,
    SlugTakenError,
    StoreUnavailableError,
    UploadInterruptedError,
    VersionNotGreaterError,
)
from jackfield.registry.models import DevelopmentRow, PluginRow, PluginTagRow, PublisherKeyRow, PublisherRow, ReleaseRow
from jackfield.registry.repository import count_install
from jackfield.registry.service import Registry
from jackfield.registry.values import CatalogueEntry, Publisher, PublisherKey, Release, Sort

__all__ = [
    "MEDIA_TYPE",
    "UPLOAD_PATH",
    "BytecodeMismatchError",
    "CatalogueEntry",
    "Development",
    "DevelopmentLimitError",
    "DevelopmentRow",
    "KeyInvalidError",
    "KeyMissingError",
    "KeyProofInvalidError",
    "KeyTakenError",
    "ManifestMismatchError",
    "MediaTypeUnsupportedError",
    "PackageRefusedError",
    "PluginMissingError",
    "PluginNotYoursError",
    "PluginRow",
    "PluginTagRow",
    "PublishInProgressError",
    "Publisher",
    "PublisherKey",
    "PublisherKeyRow",
    "PublisherMissingError",
    "PublisherRow",
    "Registry",
    "Release",
    "ReleaseMissingError",
    "ReleaseRow",
    "SealingUnavailableError",
    "SlugConfusableError",
    "SlugReservedError",
    "SlugTakenError",
    "Sort",
    "StoreUnavailableError",
    "UploadInterruptedError",
    "VersionNotGreaterError",
    "count_install",
    "is_development",
    "router",
]
