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

__all__ = ["Transform", "load_transform"]


Transform = Callable[[Item, Change], Mapping[str, Any] | None]


def load_transform(name: str, source: str) -> Transform:
    """The function `module:name` of a module beside the mapping file `source`.

    Raises:
        ConfigError: there is none, or its module can't be imported.
    """
    module_name, _, function_name = name.partition(":")
    path = Path(source).parent / (module_name.replace(".", "/") + ".py")
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
