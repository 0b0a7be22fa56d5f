"""Tell the API reference that `from .x import Y as Y` in an `__init__.py` makes Y public: the rule of this package."""

from typing import Any

import griffe


class Reexports(griffe.Extension):
    """Sets the list of public names of every package whose `__init__.py` re-exports by hand."""

    def on_module_members(self, *, node: Any, mod: griffe.Module, agent: Any, **kwargs: Any) -> None:
        names = [name for name, target in mod.imports.items() if target.endswith(f".{name}")]
        if mod.is_init_module and names:
            mod.exports = names
