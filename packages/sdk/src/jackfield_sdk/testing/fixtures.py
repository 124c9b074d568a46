"""Fixtures for pytest, known to it by an entry point: a plugin's tests need no set-up of their own.

`platform` is the plugin installed and active; `new_platform` makes further ones, configured differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from jackfield_sdk.plugin import Plugin
from jackfield_sdk.testing.loading import find_folder, load_plugin
from jackfield_sdk.testing.platform import FakePlatform

__all__ = ["new_platform", "platform", "plugin"]


@pytest.fixture
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """The plugin under test: the test module's own `plugin`, or that of the nearest `plugin.py` upwards."""
    own = getattr(cast("Any", request).module, "plugin", None)
    return own if isinstance(own, Plugin) else load_plugin(find_folder(request.path.parent))


@pytest.fixture
def new_platform(plugin: Plugin) -> Iterator[Callable[..., FakePlatform]]:
    """Makes platforms with the plugin installed and active; takes what `FakePlatform` takes."""
    with ExitStack() as stack:

        def make(**options: Any) -> FakePlatform:
            return stack.enter_context(FakePlatform(plugin, **options)).start()

        yield make


@pytest.fixture
def platform(new_platform: Callable[..., FakePlatform]) -> FakePlatform:
    """A platform with the plugin installed and active, all granted, nothing configured."""
    return new_platform()
