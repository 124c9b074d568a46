"""The plugin on the page about channels does what the page says."""

from __future__ import annotations

import re
from types import ModuleType

import jackfield_sdk as jf
from jackfield_sdk.testing import FakePlatform
from tools.committed import ROOT


def test_the_plugin_on_the_page_works() -> None:
    text = (ROOT / "docs" / "how-to" / "channels.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    module = ModuleType("greeter")
    exec(compile(source, "greeter", "exec"), module.__dict__)
    platform = FakePlatform(module.__dict__["plugin"]).start()
    platform.channel("telegram", hello="Servus")
    platform.channel_message("hi", chat_id="7", attempts=2)
    (sent,) = platform.sent
    assert (sent.chat_id, sent.text) == ("7", "Servus! What do you want?")
    assert sent.buttons == [[{"text": "Book", "data": "book", "url": None}]]
    press = jf.hooks.TelegramCallback(channel=sent.channel, update_id=1, id="q", sender=jf.hooks.TelegramUser(id=7))
    platform.channel_event("telegram.callback", press)
    assert platform.sent[-1].answers == "q"
