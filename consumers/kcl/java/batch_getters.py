"""Gets the contents of a batch's records from Java. The getters run there: a record costs one crossing, not three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Crossing", "static", "virtual"]


class Crossing:
    """A chain of Java methods that leads from each object of a list to its bytes."""

    def __init__(self, jpype: Any, *steps: Any) -> None:
        """`steps` are method handles, the first one's argument being the object; see `virtual` and `static`."""
        java = jpype.JClass
        handles, types, objects = _handles(jpype), java("java.lang.invoke.MethodType"), java("java.lang.Object").class_
        whole = steps[0]
        for step in steps[1:]:
            whole = handles.filterReturnValue(whole, step)
        self._function = java("java.lang.invoke.MethodHandleProxies").asInterfaceInstance(
            java("java.util.function.Function").class_, whole.asType(types.methodType(objects, objects))
        )

    def each(self, objects: Any) -> Sequence[Any]:
        """Call the chain on each object of a java.util.List, and return the results."""
        return objects.stream().map(self._function).toArray()  # type: ignore[no-any-return]


def virtual(jpype: Any, owner: str, method: str, result: Any) -> Any:
    """A handle of `owner`'s method without arguments; `result` is what it gives, a Java class."""
    java = jpype.JClass
    kind = java("java.lang.invoke.MethodType").methodType(result)
    return _handles(jpype).publicLookup().findVirtual(java(owner).class_, method, kind)


def static(jpype: Any, owner: str, method: str, result: Any, argument: Any) -> Any:
    """A handle of a static method of `owner` with one argument."""
    kind = jpype.JClass("java.lang.invoke.MethodType").methodType(result, argument)
    return _handles(jpype).publicLookup().findStatic(jpype.JClass(owner).class_, method, kind)


def _handles(jpype: Any) -> Any:
    return jpype.JClass("java.lang.invoke.MethodHandles")
