"""A package's `__all__` is its promise: it is there, without repeats, and every name in it resolves."""

from __future__ import annotations

import importlib

import pytest

from tests.architecture.house import SOURCES, code_folders

PACKAGES = [
    "jackfield",
    "jackfield.backup",
    "jackfield.capabilities",
    "jackfield.channels",
    "jackfield.connections",
    "jackfield.data_adapters",
    "jackfield.db",
    "jackfield.egress",
    "jackfield.extension_points",
    "jackfield.health",
    "jackfield.http",
    "jackfield.invocation",
    "jackfield.isolation",
    "jackfield.jobs",
    "jackfield.lifecycle",
    "jackfield.live",
    "jackfield.nodes",
    "jackfield.notifications",
    "jackfield.quotas",
    "jackfield.records",
    "jackfield.registry",
    "jackfield.resolution",
    "jackfield.tenants",
    "jackfield.webhooks",
    "jackfield_cli",
    "jackfield_cli.commands",
    "jackfield_sandbox",
    "jackfield_sdk",
    "jackfield_sdk.capabilities",
    "jackfield_sdk.hooks",
    "jackfield_sdk.package",
    "jackfield_sdk.testing",
    "jackfield_sdk.transports",
    "jackfield_sdk.ui",
]


def test_the_list_names_every_package() -> None:
    folders = {f"{name}.{folder.name}" for name, path in SOURCES.items() for folder in code_folders(path)}
    assert set(PACKAGES) == set(SOURCES) | folders


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_resolves(name: str) -> None:
    package = importlib.import_module(name)
    assert isinstance(package.__doc__, str)
    names: list[str] = package.__all__
    assert len(names) == len(set(names))
    assert [public for public in names if not hasattr(package, public)] == []
