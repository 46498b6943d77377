"""Modules that are run when something of them is asked for: what nobody uses costs a cold start nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["absent", "late"]


_ONE_AT_A_TIME = RLock()
_RUNNING = "__late_running__"


class _Late(ModuleType):
    """A module or package that stands in `sys.modules` before its code is run. Its submodules can be imported alone."""

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet: run the code, once, then it is, or never will be. Other threads wait until
        all of it is run."""
        spec = self.__spec__
        if spec is None or spec.loader is None or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        if spec.submodule_search_locations and find_spec(f"{self.__name__}.{name}"):
            return import_module(f"{self.__name__}.{name}")
        with _ONE_AT_A_TIME:
            if _RUNNING in self.__dict__:  # its own code asks, for what it has not come to
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
            if type(self) is _Late:
                self.__dict__[_RUNNING] = True
                try:
                    spec.loader.exec_module(self)
                finally:
                    del self.__dict__[_RUNNING]
                self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(self, name)


def late(*names: str) -> None:
    """Let each of these modules be run at its first use; those that are loaded, or not installed, stay so.

    Unlike importlib's LazyLoader it leaves a package unrun while only its submodules are imported. Name a package
    before its submodules.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = module_from_spec(spec)
        module.__class__ = _Late
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """While this lasts these modules can't be imported, unless they are loaded: for code that does without them."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # "The import system": None is not found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
