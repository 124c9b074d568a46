"""Where isolates come from: a spare one, sealed before it is known what for, or one made to measure."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import structlog

from jackfield.isolation.errors import IsolationError
from jackfield.isolation.interfaces import IsolateSpec
from jackfield.isolation.isolate import Isolate
from jackfield.isolation.supervisor import Supervisor

__all__ = ["Spares"]

_log = structlog.get_logger("jackfield.isolation")
_INLINE_BYTES = 512 * 1024
"""Largest code image that is sent through the channel; larger ones are mapped, and shared."""
_INLINE_IMAGES = 64
_REFILL_PAUSE_S = 0.005
_AGAIN_S = 1.0


class Spares:
    """The spare isolates of one pool.

    Args:
        has_room: Whether so many more isolates may live.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        has_room: Callable[[int], bool],
        *,
        count: int,
        memory_mb: int,
        descriptors: int,
        frame_bytes: int,
    ) -> None:
        self._supervisor = supervisor
        self._has_room = has_room
        self._wanted = count
        self._memory_mb = memory_mb
        self._descriptors = descriptors
        self._frame_bytes = frame_bytes
        self._spares: list[Isolate] = []
        self._images: OrderedDict[Path, bytes] = OrderedDict()
        self._is_asked = asyncio.Event()

    def take(self, spec: IsolateSpec) -> Isolate | None:
        """A spare that becomes an isolate for this; None when there is none, or it would not fit."""
        if spec.memory_mb != self._memory_mb:
            return None
        image = self._inline_image(spec.image_path)
        while image and self._spares:
            # The oldest one: the youngest may still be on its way into its memory group.
            isolate = self._spares.pop(0)
            self._is_asked.set()
            if isolate.is_outdated:
                isolate.kill("crashed")
            elif not isolate.is_dead:
                isolate.assign(spec, image)
                return isolate
        return None

    def make(self, spec: IsolateSpec) -> Isolate:
        """One for this alone.

        Raises:
            IsolationError, OSError: None can be started.
        """
        isolate = self._start(spec.memory_mb, spec.image_path)
        isolate.assign(spec)
        return isolate

    def refill(self) -> None:
        """Look whether one is missing, also because it has died or its zygote has been replaced."""
        kept: list[Isolate] = []
        for spare in self._spares:
            if spare.is_outdated and not spare.is_dead:
                spare.kill("crashed")
            elif not spare.is_dead:
                kept.append(spare)
        self._spares = kept
        self._is_asked.set()

    async def keep(self) -> None:
        """Make what is missing, one after the other, so that it does not hold up the calls that use them."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            while len(self._spares) < self._wanted and self._has_room(len(self._spares)):
                await asyncio.sleep(_REFILL_PAUSE_S)
                if not self._supervisor.is_ready:
                    # It says so when it is.
                    break
                try:
                    self._spares.append(self._start(self._memory_mb, None))
                except (IsolationError, OSError) as error:
                    _log.warning("no spare isolate", reason=str(error))
                    await asyncio.sleep(_AGAIN_S)

    def end(self) -> None:
        """End them."""
        while self._spares:
            self._spares.pop().kill("crashed")

    def _start(self, memory_mb: int, image_path: Path | None) -> Isolate:
        return Isolate(
            self._supervisor,
            memory_mb=memory_mb,
            descriptors=self._descriptors,
            frame_bytes=self._frame_bytes,
            image_path=image_path,
        )

    def _inline_image(self, path: Path) -> bytes:
        """A small image's bytes; nothing for a large one."""
        image = self._images.get(path)
        if image is None:
            image = path.read_bytes() if path.stat().st_size <= _INLINE_BYTES else b""
            self._images[path] = image
            if len(self._images) > _INLINE_IMAGES:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(path)
        return image
