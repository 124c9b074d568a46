"""Secrets that are bound to hosts, from the author's types to the manifest."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

import jackfield_sdk as jf
from jackfield_sdk.manifest import parse_manifest


def declared(permissions: list[str], optional: list[str], *hosts: str) -> jf.Manifest:
    plugin = jf.Plugin("payer", version="1.0.0", permissions=permissions, optional_permissions=optional)

    bound = jf.Hosts(*hosts)
    fields: list[Any] = [
        ("key", Annotated[jf.Secret, bound]), ("maybe", Annotated[jf.Secret | None, bound], None),
        ("loose", jf.Secret | None, None),
    ]  # fmt: skip
    plugin.config(msgspec.defstruct("Config", fields, frozen=True, kw_only=True))
    return parse_manifest(plugin.manifest().encode())


@pytest.mark.parametrize(("permissions", "hosts"), [
    (["http:api.example.com"], ["api.example.com"]), (["http:*.example.com"], ["api.example.com", "*.example.com"]),
    (["http:*"], ["api.example.com"]), (["http:api.example.com:8443"], ["api.example.com:8443"]),
    (["http:*:8443"], ["api.example.com:8443"]),
])  # fmt: skip
@pytest.mark.parametrize("is_optional", [False, True])
def test_hosts_stand_in_the_manifest(permissions: list[str], hosts: list[str], is_optional: bool) -> None:
    manifest = declared([], permissions, *hosts) if is_optional else declared(permissions, [], *hosts)
    assert manifest.config is not None
    assert manifest.config.secrets == ["key", "maybe", "loose"]
    assert manifest.config.secret_hosts == {"key": hosts, "maybe": hosts}


@pytest.mark.parametrize(("permissions", "hosts"), [
    ([], ["api.example.com"]), (["http:other.example.com"], ["api.example.com"]),
    (["http:api.example.com"], ["api.example.com:8443"]), (["http:*"], ["api.example.com:8443"]),
    (["http:*.example.com"], ["example.com"]), (["http:*.example.com"], ["api.example.com", "evil.example"]),
    (["customers:read"], ["read"]),
])  # fmt: skip
def test_a_host_that_no_permission_reaches_is_refused(permissions: list[str], hosts: list[str]) -> None:
    with pytest.raises(jf.ManifestError, match="no permission reaches"):
        declared(permissions, [], *hosts)


@pytest.mark.parametrize("host", [
    "*", "https://api.example.com", "api.example.com/", "API.example.com", "", "a b", "api.example.com:", "a.*.example",
    "api.example.com:0", "api.example.com\n",
])  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(jf.ManifestError):
        declared(["http:*"], [], host)


def test_only_a_secret_can_be_bound() -> None:
    plain: dict[str, Any] = {
        "slug": "payer", "version": "1.0.0", "name": "Payer", "permissions": ["http:a.example"],
        "config": {
            "schema": {"type": "object", "properties": {"key": {"type": "string"}}}, "secrets": [],
            "secret_hosts": {"key": ["a.example"]},
        },
    }  # fmt: skip
    with pytest.raises(jf.ManifestError, match="`key` is no secret"):
        parse_manifest(plain)


def test_a_handle_and_its_value_do_not_show_in_texts() -> None:
    secret = jf.Secret("key", lambda _name: "value", lambda _name: "handle")
    assert (secret.ref(), secret.reveal(), repr(secret)) == ("handle", "value", "Secret('key')")
