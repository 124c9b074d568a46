"""`config`: the installation's configuration, without secrets. It is the plugin's own, so it takes no permission."""

from __future__ import annotations

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, answer, operation

__all__ = ["Config"]


class _None(Arguments, frozen=True):
    pass


class Config:
    """The capability."""

    def __init__(self) -> None:
        self.operations: Capability = {"get": operation(_None, None, self._get)}

    async def _get(self, context: CapabilityContext, arguments: _None) -> bytes:
        section = context.manifest.config
        secrets = frozenset(section.secrets) if section is not None else frozenset[str]()
        # They should not be in there; a mistake elsewhere must not become a leak here.
        return answer({name: value for name, value in context.config.items() if name not in secrets})
