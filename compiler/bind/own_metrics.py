"""Check a metric of the user's own by what its module says of it, without importing the module."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from titrant.compiler.bind.bound_recipe import CheckInput, Finding
from titrant.compiler.bind.check_references import find_module
from titrant.schema.language.spans import KeyPath
from titrant.schema.open_looks import OPEN
from titrant.schema.recipe.own_metric import GUARDING, OwnMetric, is_own, own_metric, own_range, own_test
from titrant.schema.recipe.reduce import objectives
from titrant.schema.recipe.validation import FreeGate, row_metrics

_EXAMPLE = '`@titrant.metric(better="higher", range=(0, 1), unit="case")` above the function'
_PARTS = ("better", "range", "unit")
# Labels that have a shape, of which a metric can be called with all cases at once.
_SHOWN = ("class", "numbers", "labels", "mask", "boxes", "tokens")


def declared(reference: str, folder: Path) -> OwnMetric:
    """Read what a metric's decorator declares; ValueError, with a clause for a person, where it cannot be read.

    The text of the module is read, never run: a recipe is checked without anybody's code.
    """
    module, _, name = reference.partition(":")
    located = find_module(module, folder)
    if located is None or located.path is None or located.path.suffix != ".py":
        raise ValueError(f"`{module}` is no Python file whose text says what it is")
    function = _function(located.path, name)
    if function is None:
        raise ValueError(f"{located.path.name} defines no function `{name}` at its top level")
    call = next(filter(None, map(_decoration, function.decorator_list)), None)
    if call is None:
        raise ValueError("nothing declares which way is better, its range, and what has one number")
    said: dict[str, Any] = {}
    for keyword in call.keywords:
        try:
            said[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError:
            raise ValueError(f"its `{keyword.arg}` is not written as a literal") from None
    missing = [part for part in _PARTS if part not in said]
    if missing or call.args:
        raise ValueError(f"its declaration lacks `{missing[0]}`" if missing else "its declaration names no arguments")
    return own_metric(*(said[part] for part in _PARTS))


def _function(path: Path, name: str) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    return next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _decoration(decorator: ast.expr) -> ast.Call | None:
    """Return a decorator that is a call of `metric`, also as `titrant.metric`."""
    if not isinstance(decorator, ast.Call):
        return None
    called = decorator.func
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return decorator if name == "metric" else None


def own_metrics_fit(given: CheckInput) -> Iterator[Finding]:
    """Check every metric of the user's own: its task, its declaration, and what each row asks of it."""
    validation = given.recipe.validation
    for path, metric in (*row_metrics(validation), *objectives(given.recipe.search)):
        if not is_own(metric):
            continue
        if given.task.label not in _SHOWN:
            yield _not_called(given, path, metric)
            continue
        try:
            own = declared(metric, given.parsed.folder)
        except ValueError as error:
            yield given.finding("R230", path, f"`{metric}`: {error}", f"write {_EXAMPLE}")
            continue
        if path[0] == "search":  # nothing is asked of it: it orders what tuning rows show
            continue
        if validation.looks == OPEN and own.unit == "set":
            message = f"`looks: open` has no bound of `{metric}` (one number for all cases) at any number of looks"
            advice = 'plan a number of looks, such as `looks: 5`, or declare it with unit="case"'
            yield given.finding("R140", path, message, advice)
        elif path[1] == "baseline":
            yield from _asked(given, (metric, own), ("validation", "baseline"), ("at_least", "at_least"))
        else:
            gate = _gate_at(given, path)
            yield from _asked(given, (metric, own), path[:-1], (gate.comparison, "threshold"))


def _not_called(given: CheckInput, path: KeyPath, metric: str) -> Finding:
    """Refuse a metric in a task whose labels and answers are not what it is called with."""
    if given.task.label == "none":
        message = f"`{metric}` is called with labels, and `task: {given.recipe.task}` has none"
        named = "`quality`" if path[0] == "search" else "`agreement`"
        return given.finding("R111", path, message, f"write {named}, or choose a labelled task")
    has = f"`task: {given.recipe.task}` has labels of other kinds"
    message = f"`{metric}` is called with classes, numbers, masks, boxes or tokens, and {has}"
    own = ", ".join(f"`{name}`" for name in given.task.metrics)
    named = "`quality`" if path[0] == "search" else f"one of the task's own: {own}"
    return given.finding("R111", path, message, f"write {named}")


def _gate_at(given: CheckInput, path: KeyPath) -> FreeGate:
    return given.recipe.validation.gates[int(path[2])]


def _asked(
    given: CheckInput, metric: tuple[str, OwnMetric], path: KeyPath, asked: tuple[str, str]
) -> Iterator[Finding]:
    """Check a comparison, and the threshold that stands at a key."""
    (name, own), (comparison, key) = metric, asked
    try:
        own_test(own, comparison)
    except ValueError as error:
        advice = "take a metric of which more is better"
        if key == "threshold":
            advice = f"write `comparison: {GUARDING[own.better][1]}`"
        at = (*path, "comparison") if key == "threshold" else (*path, "metric")
        yield given.finding("R125", at, f"`{comparison}` of `{name}`: {error}", advice)
        return
    low, high = own_range(own, comparison)
    value = _threshold(given, path, key)
    if not low <= value <= high:
        message = f"`{value:g}` is out of range: `{name}` declares {own.low:g} to {own.high:g}"
        advice = f"from {low:g} to {high:g}, in the metric's own unit"
        if comparison == "retention":
            message, advice = f"`{value:g}` is out of range: it is a ratio to the original", "from 0 to 2, about 1"
        yield given.finding("R113", (*path, key), message, advice)


def _threshold(given: CheckInput, path: KeyPath, key: str) -> float:
    validation = given.recipe.validation
    if key == "threshold":
        return validation.gates[int(path[2])].threshold
    assert validation.baseline is not None
    return validation.baseline.at_least
