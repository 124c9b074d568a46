"""Secrets by reference: a request carries a handle, and the value takes its place on the way out.

A handle is a text that nobody can guess, and worthless anywhere else. It is replaced only in a request to a host that
the secret is bound to. Whatever comes back, the value in it is turned into the handle again, in the forms that servers
give it when they repeat what they were sent. A host that means to tell the plugin its own secret can: that is why a
secret is bound to hosts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from jackfield.egress.errors import SecretRefusedError
from jackfield.egress.messages import Headers
from jackfield.egress.policy import HostPolicy
from jackfield.egress.urls import Target

__all__ = ["Filled", "InjectedSecret", "Injection"]

SHORTEST = 4
"""Characters of a secret; anything shorter stands in every other response by chance."""
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class InjectedSecret:
    """One secret that a request refers to.

    Attributes:
        handle: The text that stands for it: letters, digits and `_`, which no encoding changes.
        hosts: Patterns of the hosts that may get it, as in `HostPolicy`.
        label: What errors call it; never the value.
    """

    handle: str
    value: str = field(repr=False)
    hosts: tuple[str, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Filled:
    """What is really sent; never shown to anybody."""

    path: str = field(repr=False)
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    is_changed: bool


class Injection:
    """The secrets of one request, put in and taken out again."""

    def __init__(self, secrets: Sequence[InjectedSecret]) -> None:
        self._secrets = tuple(secrets)
        self._forms: list[tuple[bytes, bytes]] = []

    @property
    def is_watchful(self) -> bool:
        """Whether there is something to hide in what comes back."""
        return bool(self._secrets)

    def mentions(self, data: str | bytes) -> bool:
        """Whether a handle stands in it, plainly."""
        if isinstance(data, str):
            return any(secret.handle in data for secret in self._secrets)
        return any(secret.handle.encode() in data for secret in self._secrets)

    def fill(self, target: Target, headers: Headers, body: bytes, *, is_private: bool) -> Filled:
        """Put the values in.

        Args:
            is_private: Whether the host is the operator's own, where plain http may carry secrets.

        Raises:
            SecretRefusedError: One is not for this host, or not for its place.
        """
        path, sent, content = target.path, headers, body
        content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        for secret in self._secrets:
            before = (path, sent, content)
            path = path.replace(secret.handle, quote(secret.value, safe=":"))
            sent = tuple((name, self._in_header(name, value, secret)) for name, value in sent)
            if secret.handle.encode() in content:
                content = self._in_body(content, content_type, secret)
            if (path, sent, content) != before:
                _check(secret, target, is_private=is_private)
        is_changed = (path, sent, content) != (target.path, headers, body)
        return Filled(path, sent, content, is_changed)

    def restore(self, data: bytes) -> bytes:
        """What came back, with the handles again."""
        if not self._forms:
            self._forms = [(form, secret.handle.encode()) for secret in self._secrets for form in _forms(secret.value)]
            # The longest first: one form may be a part of another.
            self._forms.sort(key=lambda pair: -len(pair[0]))
        for form, handle in self._forms:
            if form in data:
                data = data.replace(form, handle)
        return data

    def restore_text(self, text: str) -> str:
        """A header's value, with the handles again."""
        return self.restore(text.encode("latin-1", "replace")).decode("latin-1")

    def _in_header(self, name: str, value: str, secret: InjectedSecret) -> str:
        if secret.handle in value:
            if any(not 0x20 <= ord(character) <= 0x7E for character in secret.value):
                raise SecretRefusedError(f"{secret.label} has characters that a header cannot carry")
            return value.replace(secret.handle, secret.value)
        scheme, _, coded = value.partition(" ")
        if name.lower() != "authorization" or scheme.lower() != "basic":
            return value
        try:
            plain = base64.b64decode(coded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return value
        if secret.handle.encode() not in plain:
            return value
        return f"{scheme} {base64.b64encode(plain.replace(secret.handle.encode(), secret.value.encode())).decode()}"

    def _in_body(self, content: bytes, content_type: str, secret: InjectedSecret) -> bytes:
        kind = content_type.partition(";")[0].strip().lower()
        if kind == _FORM:
            written = quote_plus(secret.value)
        elif kind == "application/json" or kind.endswith("+json"):
            written = json.dumps(secret.value)[1:-1]
        else:
            raise SecretRefusedError(f"{secret.label} in a body that is neither JSON nor a form")
        return content.replace(secret.handle.encode(), written.encode())


def _check(secret: InjectedSecret, target: Target, *, is_private: bool) -> None:
    bound = HostPolicy("", "", secret.hosts)
    if not bound.allows(target.scheme, target.host, target.port):
        raise SecretRefusedError(f"{secret.label} is not for `{target.host}`")
    if target.scheme != "https" and not is_private:
        raise SecretRefusedError(f"{secret.label} does not go over plain http")
    if len(secret.value) < SHORTEST:
        raise SecretRefusedError(f"{secret.label} has fewer than {SHORTEST} characters")


def _forms(value: str) -> set[bytes]:
    """A secret as it may stand in what comes back."""
    data = value.encode("utf-8", "surrogatepass")
    forms = {
        data,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode("utf-8", "ignore"),
    }
    for coded in (quote(value), quote(value, safe=""), quote(value, safe=":"), quote_plus(value)):
        forms |= {coded.encode(), _lower_escapes(coded).encode()}
    forms |= {data.hex().encode(), data.hex().upper().encode()}
    for offset in range(3):
        # Amid other bytes, as in `user:password`: what comes before shifts it, and of the characters at both ends only
        # some bits are its own.
        coded = base64.b64encode(b"\0" * offset + data)
        head = (offset * 8 + 5) // 6
        tail = len(coded.rstrip(b"=")) - (1 if (offset + len(data)) % 3 else 0)
        part = coded[head:tail]
        if len(part) >= 6:
            forms |= {part, part.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in forms if len(form) >= SHORTEST}


def _lower_escapes(coded: str) -> str:
    """`%2F` as `%2f`."""
    parts = coded.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])
