"""Transforms: the user's own functions, loaded from beside their mapping file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from cdc.errors import ConfigError
from cdc.records.attributes import Item
from cdc.records.change import Change

__all__ = ["Transform", "load_transform", "transform_digest"]


Transform = Callable[[Item, Change], Mapping[str, Any] | None]


def load_transform(name: str, source: str) -> Transform:
    """The function `module:name` of a module beside the mapping file `source`.

    Raises:
        ConfigError: there is none, or its module can't be imported.
    """
    path, function_name = _place(name, source)
    if not path.is_file():
        raise ConfigError(f"{source}: transform: there is no {path}", remedy="Put the module beside the mapping file.")
    qualified = f"cdc_transform_{sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
    module = sys.modules.get(qualified)
    if module is None:
        spec = importlib.util.spec_from_file_location(qualified, path)
        if spec is None or spec.loader is None:
            raise ConfigError(f"{source}: transform: {path} is no Python module")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"{source}: transform: {path} can't be imported: {error!r}") from error
        sys.modules[qualified] = module
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{source}: transform: {path} has no function {function_name}")
    return function  # type: ignore[no-any-return]  # a user's function: its result is checked when it is used


def transform_digest(name: str, source: str) -> str:
    """16 hex digits that stand for the transform's source: its name in the module, and the module's text."""
    path, function_name = _place(name, source)
    text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return sha256(f"{function_name}\n{text}".encode()).hexdigest()[:16]


def _place(name: str, source: str) -> tuple[Path, str]:
    """The module's file, and the function's name in it."""
    module_name, _, function_name = name.partition(":")
    return Path(source).parent / (module_name.replace(".", "/") + ".py"), function_name
