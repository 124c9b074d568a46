"""What the page about webhooks shows is so."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints

import jackfield_sdk as jf
from jackfield.settings import WebhookSettings
from jackfield.webhooks.verification import Scheme
from jackfield_sdk.manifest import Webhook
from jackfield_sdk.testing import FakePlatform
from tools.committed import ROOT

PAGE = (ROOT / "docs" / "how-to" / "webhooks.md").read_text(encoding="utf-8")


def test_its_plugin_takes_what_it_says() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    space: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "page", "exec", dont_inherit=True), space)  # the page's own example
    plugin = space["plugin"]
    assert isinstance(plugin, jf.Plugin)
    with FakePlatform(plugin, config={"stripe_secret": "whsec_x"}).start() as platform:
        call = re.search(r"`platform\.(webhook\(.*?\))`", PAGE)
        assert call is not None
        eval(f"platform.{call.group(1)}", {"platform": platform})  # likewise
        assert platform.storage == {"payment:evt_1": "charge"}


def test_it_names_every_way_to_verify() -> None:
    schemes = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE)[1:]
    assert set(schemes) == set(get_args(Scheme))
    declared = get_type_hints(Webhook)["verify"]
    assert set(schemes) == set(get_args(declared)), "what a release may declare, the node can verify"


def test_its_settings_are_settings() -> None:
    named = set(re.findall(r"^\| `JACKFIELD_WEBHOOK_([A-Z_]+)`", PAGE, re.MULTILINE))
    assert named == {name.upper() for name in WebhookSettings.model_fields}
