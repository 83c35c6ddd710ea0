"""Changes to a library's modules, each made when the application imports that module, and not before.

An instrumentation that imports a library decides when its modules are loaded. Tools that replace something inside the
library later are then too late, because other modules of the library have already taken the original; and every
process pays for modules that it never uses. So nothing in this package imports a library for the application.
"""

from __future__ import annotations

import copy
import functools
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

import wrapt

from otjobs.faults import guard

Undo = Callable[[], None]
Change = Callable[[ModuleType], Undo | None]
"""Changes a module that has just been imported; returns what takes the change back."""
Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""What wrapt calls in place of a function: (wrapped, instance, args, kwargs)."""


class Late:
    """The changes of one integration.

    Args:
        changes: module name -> its changes, made in this order.
    """

    def __init__(self, changes: Mapping[str, Sequence[Change]]) -> None:
        self._changes = changes
        self._undo: list[Undo] = []
        self._active = False
        self._awaited: set[str] = set()
        """Modules whose import calls `_imported`; such a call cannot be taken back."""

    def apply(self) -> None:
        """Change the modules that are there, and each of the others when it is imported."""
        self._active = True
        for name in self._changes:
            if name not in self._awaited:
                self._awaited.add(name)
                wrapt.register_post_import_hook(functools.partial(self._imported, name), name)

    def undo(self) -> None:
        """Take every change back, and make no further ones."""
        self._active = False
        while self._undo:
            with guard("a change to a library could not be taken back"):
                self._undo.pop()()

    def _imported(self, name: str, module: ModuleType) -> None:
        self._awaited.discard(name)
        if not self._active:
            return
        for change in self._changes[name]:
            with guard(f"{name} could not be prepared for tracing"):
                undo = change(module)
                if undo is not None:
                    self._undo.append(undo)


class _Stored:
    """What a wrapped function is to `pickle` and `copy`: a name, as the plain one is, also where otjobs is not."""

    def __reduce_ex__(self, _: object) -> Any:
        function: Any = self
        owner = getattr(function, "__self__", None)
        if owner is not None:
            return getattr, (owner, function.__name__)
        return pkgutil.resolve_name, (f"{function.__module__}:{function.__qualname__}",)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        function: Any = self
        owner = getattr(function, "__self__", None)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), function.__name__)


class _BoundWrapper(_Stored, wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]
    pass


class _FunctionWrapper(_Stored, wrapt.FunctionWrapper):  # type: ignore[type-arg]
    __bound_function_wrapper__ = _BoundWrapper


def wrap(path: str, wrapper: Wrapper, *, often: bool = False) -> Change:
    """Return the change that wraps the function at `path` in a module; a version without it is left as it is.

    Args:
        path: of the function.
        wrapper: what is called in its place.
        often: it is a method that every job passes, and that nobody but the library looks at.
    """

    def change(module: ModuleType) -> Undo | None:
        try:
            owner, name, original = wrapt.resolve_path(module, path)
        except AttributeError:
            return None
        inherited = name not in vars(owner)
        # Where another tool has wrapped the wrapper since, it cannot be taken out: then it does nothing. A list is true
        # while it is not empty; a function would be called with every job.
        active: Any = [True]
        ours = _often_called(original, wrapper, active) if often and isinstance(owner, type) else None
        if ours is None:
            ours = _FunctionWrapper(original, wrapper, active)
        setattr(owner, name, ours)

        def undo() -> None:
            active.clear()
            if vars(owner).get(name) is not ours:
                return
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

        return undo

    return change


def wrap_method(owner: type, name: str, wrapper: Wrapper) -> None:
    """Wrap a method of a new class, which every job passes."""
    ours = _often_called(inspect.getattr_static(owner, name), wrapper, True)  # noqa: FBT003
    if ours is None:
        wrapt.wrap_object(owner, name, _FunctionWrapper, (wrapper,))
    else:
        setattr(owner, name, ours)


def _often_called(original: Any, wrapper: Wrapper, active: Any) -> Any:
    """Return a method that calls a wrapper while something is true, at half the cost of wrapt's.

    It is a function of its own and no likeness of the original, and stands for plain methods alone: None for others.
    """
    if type(original) is not FunctionType:
        return None

    @functools.wraps(original)
    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not active:
            return original(self, *args, **kwargs)
        return wrapper(MethodType(original, self), self, args, kwargs)

    return method


def connect(signal: str, receiver: Callable[..., Any]) -> Change:
    """Return the change that has a signal of a module call a receiver."""

    def change(module: ModuleType) -> Undo:
        found, uid = getattr(module, signal), identity_of(receiver)
        found.connect(receiver, weak=False, dispatch_uid=uid)
        return functools.partial(found.disconnect, receiver, dispatch_uid=uid)

    return change


def identity_of(receiver: Callable[..., Any]) -> str:
    """Return the name by which a signal knows a receiver of ours."""
    return f"otjobs:{receiver.__name__}"
