"""What can be wrong about publishers, their keys, packages and releases."""

from __future__ import annotations

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError
from jackfield_sdk.errors import PackageError

__all__ = [
    "BytecodeMismatchError",
    "DevelopmentLimitError",
    "KeyInvalidError",
    "KeyMissingError",
    "KeyProofInvalidError",
    "KeyTakenError",
    "ManifestMismatchError",
    "MediaTypeUnsupportedError",
    "PackageRefusedError",
    "PluginMissingError",
    "PluginNotYoursError",
    "PublishInProgressError",
    "PublisherMissingError",
    "ReleaseMissingError",
    "SealingUnavailableError",
    "SlugReservedError",
    "SlugTakenError",
    "StoreUnavailableError",
    "UploadInterruptedError",
    "VersionNotGreaterError",
]


class PublisherMissingError(ForbiddenError):
    """The caller's publisher is not known here."""

    code = "publisher-unknown"
    default_hint = "Ask the operator to register the publisher."


class KeyInvalidError(InvalidError):
    """What was sent is not an Ed25519 public key."""

    code = "key-invalid"
    default_hint = "Send the 32 raw bytes of the public key in base64; `jackfield keys` prints them."


class KeyProofInvalidError(InvalidError):
    """The proof does not show that the caller holds the private key."""

    code = "key-proof-invalid"
    default_hint = "Sign `jackfield-key-v1`, a line feed and the publisher's id with the key itself."


class KeyTakenError(ConflictError):
    """The key was added before: to this publisher, where it may have been revoked, or to another."""

    code = "key-taken"
    default_hint = "Make a new key; a key serves one publisher, and a revoked one does not come back."


class KeyMissingError(MissingError):
    """The publisher has no such key."""

    code = "key-not-found"


# Of what the plugin's own code says when it fails to import: it can say megabytes, and answers are kept.
_MAX_MESSAGE_CHARS = 2_000
_MAX_HINT_CHARS = 8_000


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


class PackageRefusedError(InvalidError):
    """The package breaks a rule of the format, or its code cannot be compiled or imported.

    `code` is the rule's: one of `jackfield_sdk.package.CODES`, `key-unknown`, `key-revoked`, `signature-invalid`,
    `range-invalid`, or what the sandbox says (`source-invalid`, `plugin-import-failed`, `sealed-timeout`,
    `sealed-crashed`).
    """

    code = "package-invalid"

    default_hint = "Correct the plugin and make the package again with `jackfield pack`."

    def __init__(self, error: PackageError) -> None:
        super().__init__(_cut(str(error), _MAX_MESSAGE_CHARS), hint=_cut(error.hint, _MAX_HINT_CHARS) or None)
        self.code = error.code  # pyright: ignore[reportAttributeAccessIssue]  # one class for all rules of the format


class BytecodeMismatchError(InvalidError):
    """A compiled file is not what its source compiles to. `data["path"]` names the source."""

    code = "bytecode-mismatch"
    default_hint = "Make the package again with `jackfield pack`; compiled files cannot be edited."


class ManifestMismatchError(InvalidError):
    """The signed manifest says something else than the code declares. `data["field"]` is where they differ first."""

    code = "manifest-mismatch"
    default_hint = "Make the package again with `jackfield pack`; a manifest cannot be edited."


class SlugTakenError(ConflictError):
    """The slug belongs to another publisher."""

    code = "slug-taken"
    default_hint = "Choose another slug."


class SlugReservedError(ForbiddenError):
    """The slug means something to the platform or to the host."""

    code = "slug-reserved"
    default_hint = "Choose another slug."


class EventReservedError(ForbiddenError):
    """The release sends an event that the host sends itself. `data["event"]` is that one."""

    code = "event-reserved"
    default_hint = "Give the event another name."


class SlugConfusableError(ConflictError):
    """The slug can be taken for another publisher's. `data["other"]` is that one."""

    code = "slug-confusable"
    default_hint = "Choose a slug that differs in more than hyphens and look-alikes (`l`, `i` and `1`, `o` and `0`)."


class DevelopmentLimitError(ConflictError):
    """The tenant tries as many plugins as it may."""

    code = "development-limit"
    default_hint = "Development releases of plugins that are not installed are forgotten after a week."


class VersionNotGreaterError(ConflictError):
    """A release must have a greater version than every earlier one. `data["newest"]` is the greatest so far."""

    code = "version-not-greater"
    default_hint = "Raise the version; a published release does not change, a withdrawn one does not come back as new."


class PublishInProgressError(ConflictError):
    """The publisher is uploading another package at this moment."""

    code = "publish-in-progress"
    default_hint = "Wait until the other upload has ended."


class UploadInterruptedError(InvalidError):
    """The upload stopped before its end."""

    code = "upload-interrupted"
    default_hint = "Send the package again."


class MediaTypeUnsupportedError(InvalidError):
    """The body is not sent as a package."""

    code = "media-type-unsupported"
    default_hint = "Send the file itself, as `application/vnd.jackfield.package` or `application/octet-stream`."


class PluginMissingError(MissingError):
    """The marketplace has no such plugin."""

    code = "plugin-not-found"
    default_hint = "Look for it in the marketplace."


class ReleaseMissingError(MissingError):
    """The plugin has no such release."""

    code = "release-not-found"
    default_hint = "List its releases."


class PluginNotYoursError(ForbiddenError):
    """The plugin belongs to another publisher."""

    code = "plugin-not-yours"


class SealingUnavailableError(UnavailableError):
    """Packages cannot be checked, because no process can be sealed to do it in."""

    code = "sealing-unavailable"
    default_hint = "Run `python -m jackfield doctor` for what is missing."


class StoreUnavailableError(UnavailableError):
    """The package store cannot be written, for lack of space or rights."""

    code = "store-unavailable"
    default_hint = "Look at the disk that holds the platform's data."
