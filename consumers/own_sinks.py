"""Sinks of the user's own: loaded from a Python module by its name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cdc.delivery.shared import SharedSink
from cdc.errors import ConfigError
from cdc.sinks import Sink
from cdc.sinks.functions import FunctionSink

__all__ = ["OwnSink", "checked_sink", "load_functions", "load_own", "load_sink"]

OwnSink = Callable[[], Sink]
"""Gives a pipeline its sink."""

_METHODS = ("write", "flush", "close")


def load_own(functions: str | None, sink: str | None) -> tuple[OwnSink | None, Callable[[], None]]:
    """The functions or the sink that a command names, and what closes the sink when the process ends.

    Raises:
        ConfigError: both are named, or what is named can't be loaded.
    """
    if functions and sink:
        raise ConfigError("--functions and --sink are both given", remedy="Give one: a sink can call your functions.")
    if sink:
        loaded = load_sink(sink)
        shared = SharedSink(loaded)
        return (lambda: shared), loaded.close
    return (load_functions(functions) if functions else None), lambda: None


def load_functions(module: str) -> OwnSink:
    """The functions `on_insert`, `on_modify` and `on_remove` of a module, as a sink for each pipeline.

    Raises:
        ConfigError: the module can't be imported, or has none of them.
    """
    found = _imported("--functions", module)
    names = ("on_insert", "on_modify", "on_remove")
    functions: dict[str, Any] = {name: getattr(found, name, None) for name in names}
    if not any(functions.values()):
        raise ConfigError(
            f"--functions {module}: it has none of {', '.join(names)}", remedy="Name the functions so in the module."
        )
    return lambda: FunctionSink(**functions)


def load_sink(name: str) -> Sink:
    """The sink of `module:name`: a sink, or a function or class without arguments that makes one.

    Raises:
        ConfigError: it can't be loaded, or is no sink.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(f"--sink {name}: it names no sink", remedy="Write module:name, such as shop_sinks:search.")
    found = getattr(_imported("--sink", module), attribute, None)
    if found is None:
        raise ConfigError(f"--sink {name}: the module has no {attribute}", remedy="Name the sink as the module does.")
    made: Any = found() if callable(found) and (isinstance(found, type) or not hasattr(found, "write")) else found
    return checked_sink(f"--sink {name}", made)


def checked_sink(given: str, sink: Any) -> Sink:
    """The sink, if it is one; `given` is where it comes from.

    Raises:
        ConfigError: it lacks a part of the protocol.
    """
    missing = [part for part in (*_METHODS, "name") if not hasattr(sink, part)]
    if missing:
        raise ConfigError(
            f"{given}: it is no sink: it lacks {', '.join(missing)}", remedy="docs/write-a-sink.md has the contract."
        )
    return sink  # type: ignore[no-any-return]  # checked above


def _imported(option: str, module: str) -> ModuleType:
    """Import a module, which may lie in the working directory."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise ConfigError(
            f"{option} {module}: it can't be imported: {error!r}", remedy="Name a module, such as shop_functions."
        ) from error
