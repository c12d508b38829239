"""Explain a diagnostic code, where a value of a recipe comes from, or what a step of a run did."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.layout import wrapped
from titrant.schema.diagnostics import Diagnostic, RecipeError

_CODE = re.compile(r"[RPX]\d{3}")


def explain(subject: str, item: str | None = None, *, overrides: Sequence[str] = (), trust: bool = False) -> str:
    """Explain in words: a code (R012), a recipe and a path in it, or a run and a step."""
    if item is None and _CODE.fullmatch(subject.upper()):
        return _code(subject.upper())
    if item is None:
        raise RecipeError(
            Diagnostic("P009", f"what of '{subject}' is to be explained?",
                       help="name it: titrant explain RECIPE quantization.method, or RUN STEP, or a code such as R012")
        )  # fmt: skip
    if is_recipe(subject):
        from titrant.verbs.explain_value import explain_value

        return explain_value(Path(subject), item, overrides, trust)
    return _step(subject, item)


def is_recipe(subject: str) -> bool:
    """Tell a recipe from a run or a code by its suffix."""
    return subject.endswith((".yaml", ".yml"))


def _code(code: str) -> str:
    from titrant.schema.codes import all_codes

    codes = all_codes()
    if code not in codes:
        raise RecipeError(
            Diagnostic("P009", f"there is no code {code}", help=f"codes run from {min(codes)} to {max(codes)}")
        )
    found = codes[code]
    parts = [f"{found.code}: {found.title}", wrapped(found.explanation, "", "")]
    parts += [f"{title}:\n{_indent(text)}" for title, text in (("wrong", found.wrong), ("right", found.right)) if text]
    return "\n\n".join(parts)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _step(run: str, step: str) -> str:
    from titrant.verbs.facts import home_folder
    from titrant.verbs.runs import damaged, find_run, read_events, read_json

    folder = find_run(run, home_folder())
    plan = read_json(folder / "plan.json")
    try:
        steps = {str(entry["id"]): entry for entry in plan["steps"]}
        if step in steps:
            return "\n".join(_step_lines(steps[step], read_events(folder / "journal.jsonl")))
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / "plan.json", f"it holds no plan ({error})") from None
    advice = f"its steps: {', '.join(steps)}"
    raise RecipeError(Diagnostic("P009", f"the run {folder.name} has no step '{step}'", help=advice))


def _step_lines(step: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield wrapped(f"{step['id']}: {step['operator']} {step['because']}".rstrip(), "", "  ")
    yield wrapped(f"params: {json.dumps(step['params'], ensure_ascii=False)}", "  ", "    ")
    for port, source in step["inputs"].items():
        yield f"  takes {port} from {source}"
    for event in journal:
        if event.get("step") == step["id"]:
            said = f"{event.get('time', '')} {event['event']} {event.get('because', '')}".strip()
            yield wrapped(said, "  ", "    ")
