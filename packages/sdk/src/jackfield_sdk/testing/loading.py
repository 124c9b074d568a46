"""From a plugin's folder to its `Plugin`."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path

from jackfield_sdk.errors import ManifestError
from jackfield_sdk.plugin import Plugin

__all__ = ["find_folder", "load_plugin"]


def load_plugin(folder: str | Path) -> Plugin:
    """Run the `plugin.py` of a folder, anew each time.

    The folder's other modules can be imported by it, as in a package; they stay imported.

    Raises:
        ManifestError: There is no `plugin.py`, or it defines no `plugin`.
    """
    folder = Path(folder).resolve()
    file = folder / "plugin.py"
    if not file.is_file():
        raise ManifestError(f"there is no plugin.py in {folder.name}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    # Not `plugin`: a second plugin in this process would take the first one's place.
    name = f"plugin_of_{folder.name.replace('-', '_')}"
    loader = SourceFileLoader(name, str(file))
    spec = ModuleSpec(name, loader, origin=str(file))
    spec.has_location = True
    module = module_from_spec(spec)
    # Types are looked up in their module by its name.
    sys.modules[name] = module
    loader.exec_module(module)
    plugin = getattr(module, "plugin", None)
    if not isinstance(plugin, Plugin):
        raise ManifestError("plugin.py does not define `plugin`", hint="plugin = jf.Plugin(…)")
    return plugin


def find_folder(start: Path) -> Path:
    """The nearest folder upwards that holds a `plugin.py`.

    Raises:
        ManifestError: There is none.
    """
    for folder in (start, *start.parents):
        if (folder / "plugin.py").is_file():
            return folder
    raise ManifestError(f"no plugin.py in {start.name} or above it")
