"""Explain a diagnostic code, where a value of a recipe comes from, or what a step of a run did."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, all_codes
from titrant.schema.language.nearest import several_nearest
from titrant.schema.values.files import YAML_SUFFIXES
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.api.explain_value import ExplainedValue
    from titrant.schema.diagnostics.diagnostics import Code

_LISTED = 12  # steps that are named where a step of another name is asked for
_CODE = re.compile(r"[RPX]\d{3}")


@dataclass(frozen=True)
class ExplainedStep:
    """A step as its run planned it, and the events that its journal holds of it, in order.

    `inputs` maps a port to the step and port that it takes its value from, or to several by name. Where the step makes
    or tries a `candidate`, `became` and `why` say what became of it, and `left` are the layers that it leaves in float.
    """

    id: str
    operator: str
    because: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    candidate: str = ""
    became: str = ""
    why: str = ""
    left: tuple[str, ...] = ()


def explain(
    subject: str, item: str | None = None, *, overrides: Sequence[str] = (), trust: bool = False
) -> "Code | ExplainedStep | ExplainedValue":
    """Explain a code (R012), a recipe and a path in it, or a run and a step; RecipeError P009 for what there is not."""
    if item is None and _CODE.fullmatch(subject.upper()):
        return _code(subject.upper())
    if item is None:
        raise RecipeError(
            Diagnostic("P009", f"what of '{subject}' is to be explained?",
                       help="name it: titrant explain RECIPE quantization.method, or RUN STEP, or a code such as R012")
        )  # fmt: skip
    if is_recipe(subject):
        from titrant.api.explain_value import explain_value

        return explain_value(Path(subject), item, overrides, trust)
    return _step(subject, item)


def is_recipe(subject: str) -> bool:
    """Tell a recipe from a run or a code by its suffix."""
    return subject.endswith(YAML_SUFFIXES)


def _code(code: str) -> "Code":
    codes = all_codes()
    if code not in codes:
        raise RecipeError(
            Diagnostic("P009", f"there is no code {code}", help=f"codes run from {min(codes)} to {max(codes)}")
        )
    return codes[code]


def _step(run: str, step: str) -> ExplainedStep:
    from titrant.api.runs import damaged, find_run, read_events, read_json
    from titrant.runtime.store.home import home_folder

    folder = find_run(run, home_folder())
    plan = read_json(folder / "plan.json")
    try:
        steps = {str(entry["id"]): entry for entry in plan["steps"]}
        if step in steps:
            events = read_events(folder / "journal.jsonl")
            entry, record = steps[step], folder / "record.json"
            candidates = read_json(record)["candidates"] if entry.get("candidate") and record.is_file() else ()
            became: Mapping[str, Any] = next(
                (each for each in candidates if each["candidate"] == entry["candidate"]), {}
            )
            return ExplainedStep(
                entry["id"], entry["operator"], entry["because"], entry["params"], dict(entry["inputs"].items()),
                tuple({**event, "event": event["event"]} for event in events if event.get("step") == entry["id"]),
                became.get("candidate", ""), became.get("status", ""), became.get("because", ""),
                tuple(became.get("left", ())),
            )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / "plan.json", f"it holds no plan ({error})") from None
    raise RecipeError(Diagnostic("P009", f"the run {folder.name} has no step '{step}'", help=_steps_like(step, steps)))


def _steps_like(name: str, steps: Mapping[str, Any]) -> str:
    """Name the steps most like a name, or the first ones where none is; all where they are few."""
    if len(steps) <= _LISTED:
        return f"its steps: {', '.join(steps)}"
    alike = several_nearest(name, steps, _LISTED) or list(steps)[:_LISTED]
    return f"it has {len(steps)} steps, such as {', '.join(alike)}; its plan.json lists all"
