"""The table of cases, a file for each class."""

from __future__ import annotations

from tests.hostile.cases.descriptors import DESCRIPTORS
from tests.hostile.cases.faults import FAULTS
from tests.hostile.cases.files import FILES
from tests.hostile.cases.introspection import INTROSPECTION
from tests.hostile.cases.kernel_surface import KERNEL_SURFACE
from tests.hostile.cases.memory import MEMORY_HOGS
from tests.hostile.cases.network import NETWORK
from tests.hostile.cases.output import OUTPUT
from tests.hostile.cases.processes import PROCESSES
from tests.hostile.cases.protocol import PROTOCOL
from tests.hostile.cases.serialisation import SERIALISATION
from tests.hostile.cases.signals import SIGNALS
from tests.hostile.cases.tenancy import TENANCY
from tests.hostile.cases.times import TIMES

__all__ = ["CLASSES"]

CLASSES = (
    PROCESSES, MEMORY_HOGS, TIMES, SIGNALS, INTROSPECTION, FILES, DESCRIPTORS, NETWORK, KERNEL_SURFACE, PROTOCOL,
    OUTPUT, SERIALISATION, TENANCY, FAULTS,
)  # fmt: skip
