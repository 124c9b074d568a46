"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.postgres import postgres

__all__ = ["postgres"]

# How fast examples are made says how busy the machine is, and nothing about the code under test. What hangs meets
# pytest's own time limit.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
