"""Every snippet of the page on connections is true: settings are accepted, the plugin can be declared."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from jackfield.connections.adapters import AdapterMaker, read_settings
from jackfield.connections.credentials import SECRET_FIELDS, required_secrets, split
from jackfield.connections.tokens import Connected
from jackfield.egress import Egress
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "how-to" / "connections.md").read_text(encoding="utf-8")
SETTINGS: list[dict[str, Any]] = [
    msgspec.json.decode(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
]


@pytest.mark.parametrize("given", SETTINGS, ids=lambda given: given["adapter"])
def test_settings_are_accepted(given: dict[str, Any]) -> None:
    assert given.keys() == {"adapter", "settings", "credentials"}
    read_settings(given["adapter"], given["settings"])
    credentials, secrets = split(given["credentials"])
    assert set(required_secrets(credentials)) == set(secrets)
    connection = Connected("conn", "t", "inst", "booking", "data", 1, credentials)
    maker = AdapterMaker(Egress(), None)  # type: ignore[arg-type]  # nobody asks for a token here
    assert maker.make(connection, given["adapter"], given["settings"]).entities()


def test_all_kinds_of_credentials_are_told_of() -> None:
    for kind, fields in SECRET_FIELDS.items():
        (row,) = re.findall(rf"^\| `{kind}` \|.*$", PAGE, re.MULTILINE)
        assert all(f"`{field}`" in row.rpartition("|")[0].rpartition("|")[2] for field in fields)


def test_the_plugin_can_be_declared() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"__name__": "plugin"}
    exec(source, names)
    manifest = names["plugin"].manifest()
    assert [connection.name for connection in manifest.connections] == ["calendar"]
