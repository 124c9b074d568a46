"""Pages that show a widget hear that it shows something else by now."""

from __future__ import annotations

from jackfield_sdk.capabilities.host import Host

__all__ = ["Widgets"]


class Widgets:
    """`ctx.widgets`. Takes no permission."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def refresh(self, name: str) -> None:
        """Have pages that show a widget of this plugin ask for it again. In the handler of a delivery they do so when
        what it wrote is committed; several at once are one. While a widget is drawn it does
        nothing.

        Args:
            name: The function that `@plugin.widget` stands above.

        Raises:
            CapabilityError: `arguments-invalid`: the plugin has no such widget.
        """
        self._host.call("widgets", "refresh", {"name": name})
