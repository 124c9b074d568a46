"""The catalogue: every way that we know of to make a package hostile, and the code by which it must be refused.

`bombs` mean to fill memory, disk or time; `form` breaks the format, which every reader must notice; `truth` is good in
form and refused for whose it is, what came before, or what its code is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Attack", "Package", "attack"]

Package = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Attack:
    """One hostile upload.

    Attributes:
        codes: Any of these may be the answer.
        make: The package; chunks when it is large.
        by_other: Sent by the second publisher.
    """

    name: str
    codes: tuple[str, ...]
    make: Callable[[], Package]
    by_other: bool = False

    def __str__(self) -> str:
        return self.name


def attack(name: str, codes: str, make: Callable[[], Package], *, by_other: bool = False) -> Attack:
    return Attack(name, tuple(codes.split()), make, by_other)
