"""Lazy imports, for the Lambda's cold start alone: the entry modules call them, in Lambda, and nobody else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["hidden", "import_lazily", "import_search_client"]

_ONE_AT_A_TIME = RLock()
_RUNNING = "__lazy_running__"


class _LazyModule(ModuleType):
    """A module or package that stands in `sys.modules` before its code is run. Its submodules can be imported alone."""

    def __getattr__(self, name: str) -> Any:
        """Runs the module's code once, on the first access to an attribute it does not have yet. Other threads wait
        until all of it is run."""
        spec = self.__spec__
        if spec is None or spec.loader is None or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        if spec.submodule_search_locations and find_spec(f"{self.__name__}.{name}"):
            return import_module(f"{self.__name__}.{name}")
        with _ONE_AT_A_TIME:
            if _RUNNING in self.__dict__:  # its own code asks, for what it has not come to
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
            if type(self) is _LazyModule:
                self.__dict__[_RUNNING] = True
                try:
                    spec.loader.exec_module(self)
                finally:
                    del self.__dict__[_RUNNING]
                self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(self, name)


def import_lazily(*names: str) -> None:
    """Delay the code of each module until its first use; those that are loaded, or not installed, stay so.

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
        module.__class__ = _LazyModule
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Within this block these modules can't be imported, unless they are loaded: for code that does without them."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # "The import system": None is not found
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def import_search_client() -> None:
    """Import opensearch-py's client without its query language, requests, asyncio and metadata of packages.

    They take half of its import's time, and nothing here uses them; other code still finds them. It is done only in
    Lambda, and only where the function writes to an index.
    """
    if not os.environ.get("AWS_LAMBDA_RUNTIME_API") or not os.environ.get("CDC_OPENSEARCH_ENDPOINT"):
        return
    import_lazily("requests", "urllib3", "urllib3.http2", "opensearchpy", "opensearchpy.helpers")
    with nullcontext() if find_spec("aiohttp") else hidden("asyncio"):  # it is for the client that needs aiohttp
        import_module("opensearchpy.client")
