"""Changes to modules are made when the modules are imported, and can be taken back at any time."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys

import pytest
import wrapt

from otjobs import errors
from otjobs.integrations.late import Late, connect, wrap

TEXT = """
class Base:
    def inherited(self): return "inherited"
class Kind(Base):
    def own(self): return "own"
    @staticmethod
    def fixed(): return "fixed"
def function(): return "function"
class Signal:
    def __init__(self): self.receivers = {}
    def connect(self, receiver, weak, dispatch_uid): self.receivers[dispatch_uid] = receiver
    def disconnect(self, receiver, dispatch_uid): del self.receivers[dispatch_uid]
sent = Signal()
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The name of a module that is not imported yet."""
    name = f"late_library_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def marked(wrapped, _, args, kwargs):
    return "wrapped " + wrapped(*args, **kwargs)


PATHS = ("Kind.own", "Kind.fixed", "Kind.inherited", "function")


def results(module):
    kind = module.Kind()
    return [kind.own(), kind.fixed(), kind.inherited(), module.Base().inherited(), module.function()]


PLAIN = ["own", "fixed", "inherited", "inherited", "function"]
WRAPPED = ["wrapped own", "wrapped fixed", "wrapped inherited", "inherited", "wrapped function"]


@pytest.mark.parametrize("often", [True, False])
@pytest.mark.parametrize("imported_before", [True, False])
def test_a_module_is_changed_whenever_it_is_imported(library, imported_before, often):
    methods = [wrap(path, marked, often=often) for path in PATHS if path in ("Kind.own", "Kind.inherited")]
    late = Late({library: [*methods, wrap("Kind.fixed", marked), wrap("function", marked)]})
    if imported_before:
        importlib.import_module(library)
    late.apply()
    assert (library in sys.modules) is imported_before
    module = importlib.import_module(library)
    assert results(module) == WRAPPED
    late.undo()
    assert results(module) == PLAIN
    assert "inherited" not in vars(module.Kind)
    late.apply()
    assert results(module) == WRAPPED
    late.undo()


def test_a_change_that_was_taken_back_before_the_import_is_not_made(library):
    late = Late({library: [wrap(path, marked) for path in PATHS]})
    late.apply()
    late.undo()
    module = importlib.import_module(library)
    assert results(module) == PLAIN
    late.apply()
    assert results(module) == WRAPPED
    late.undo()


def test_applied_twice_before_the_import_it_is_made_once(library):
    late = Late({library: [wrap("function", marked)]})
    late.apply()
    late.undo()
    late.apply()
    assert importlib.import_module(library).function() == "wrapped function"
    late.undo()


def test_under_another_tools_wrapper_it_does_nothing_any_more(library):
    late = Late({library: [wrap("function", marked)]})
    late.apply()
    module = importlib.import_module(library)
    ours = module.function
    module.function = lambda: "other " + ours()
    assert module.function() == "other wrapped function"
    late.undo()
    assert module.function() == "other function"
    late.apply()
    assert module.function() == "wrapped other function"
    late.undo()


@pytest.mark.parametrize("often", [True, False])
def test_between_the_wrappers_of_other_tools_a_method_is_called_with_its_instance(library, often):
    def other(wrapped, instance, args, kwargs):
        return f"{type(instance).__name__} {wrapped(*args, **kwargs)}"

    module = importlib.import_module(library)
    wrapt.wrap_function_wrapper(module, "Kind.own", other)
    late = Late({library: [wrap("Kind.own", marked, often=often), wrap("Kind.inherited", marked, often=often)]})
    late.apply()
    wrapt.wrap_function_wrapper(module, "Kind.own", other)
    wrapt.wrap_function_wrapper(module, "Kind.inherited", other)
    assert module.Kind().own() == "Kind wrapped Kind own"
    assert module.Kind().inherited() == "Kind wrapped inherited"
    assert module.Kind.inherited.__name__ == "inherited"
    late.undo()
    assert module.Kind().own() == "Kind Kind own"
    assert module.Kind().inherited() == "Kind inherited"


def test_a_version_without_the_function_is_left_as_it_is(library):
    late = Late({library: [wrap("Kind.nowhere", marked), wrap("Nobody.own", marked), wrap("function", marked)]})
    before = errors.fault_counts()
    late.apply()
    assert importlib.import_module(library).function() == "wrapped function"
    assert errors.fault_counts() == before
    late.undo()


def test_a_change_that_fails_costs_a_warning_and_no_import(library):
    def broken(_):
        raise RuntimeError

    late = Late({library: [broken, wrap("function", marked)]})
    late.apply()
    assert importlib.import_module(library).function() == "wrapped function"
    assert errors.fault_counts()[f"{library} could not be prepared for tracing"] == 1
    late.undo()


def test_a_signal_is_received_from_the_import_on_until_it_is_taken_back(library):
    late = Late({library: [connect("sent", marked)]})
    late.apply()
    module = importlib.import_module(library)
    assert module.sent.receivers == {"otjobs:marked": marked}
    late.undo()
    assert module.sent.receivers == {}


def test_a_version_without_the_signal_costs_a_warning_and_no_import(library):
    late = Late({library: [connect("never", marked), wrap("function", marked)]})
    late.apply()
    assert importlib.import_module(library).function() == "wrapped function"
    assert errors.fault_counts()[f"{library} could not be prepared for tracing"] == 1
    late.undo()


@pytest.mark.parametrize("find", [lambda m: m.Kind.own, lambda m: m.Kind.fixed, lambda m: m.function])
def test_a_wrapped_function_is_pickled_and_copied_by_name_as_a_plain_one(library, find):
    late = Late({library: [wrap(path, marked) for path in PATHS]})
    late.apply()
    module = importlib.import_module(library)
    function, stored = find(module), pickle.dumps(find(module))
    assert copy.copy(function) is function
    assert copy.deepcopy(function) is function
    assert b"otjobs" not in stored
    assert b"wrapt" not in stored
    assert pickle.loads(stored) == function
    late.undo()
    assert pickle.loads(stored) is find(module)


def test_a_wrapped_method_is_pickled_and_copied_with_its_object(library):
    late = Late({library: [wrap("Kind.own", marked)]})
    late.apply()
    kind = importlib.import_module(library).Kind()
    for other in (pickle.loads(pickle.dumps(kind.own)), copy.deepcopy(kind.own)):
        assert other() == "wrapped own"
        assert type(other.__self__) is type(kind)
        assert other.__self__ is not kind
    assert copy.copy(kind.own).__self__ is kind
    late.undo()
