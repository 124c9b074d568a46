"""Test a plugin without a platform: `FakePlatform` runs its handlers as an isolate would, over what is in memory.

    from jackfield_sdk.testing import FakePlatform

    platform = FakePlatform(plugin).start()
    platform.emit("sale.created", jf.hooks.Sale(id="s1", total=12.0, customer_id="c1"))
    assert platform.call("balance", customer_id="c1") == 12

Under pytest, the fixture `platform` is exactly that.
"""

from __future__ import annotations

from jackfield_sdk.testing.broker import Emitted
from jackfield_sdk.testing.loading import load_plugin
from jackfield_sdk.testing.platform import FakePlatform

__all__ = ["Emitted", "FakePlatform", "load_plugin"]
