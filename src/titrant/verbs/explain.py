"""Explain a diagnostic code, where a value of a recipe comes from, or what a step of a run did."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from titrant.schema.diagnostics import Diagnostic, RecipeError

_CODE = re.compile(r"[RPX]\d{3}")


def explain(subject: str, item: str | None = None, *, overrides: Sequence[str] = (), trust: bool = False) -> str:
    """Explain in words: a code (R012), a recipe and a path in it, or a run and a step."""
    if item is None and _CODE.fullmatch(subject):
        return _code(subject)
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
    parts = [f"{found.code}: {found.title}", found.explanation]
    parts += [f"{title}:\n{_indent(text)}" for title, text in (("wrong", found.wrong), ("right", found.right)) if text]
    return "\n\n".join(parts)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _step(run: str, step: str) -> str:
    from titrant.verbs.facts import home_folder
    from titrant.verbs.runs import find_run, read_json, read_text

    folder = find_run(run, home_folder())
    plan = read_json(folder / "plan.json")
    found = next((entry for entry in plan["steps"] if entry["id"] == step), None)
    if found is None:
        names = ", ".join(entry["id"] for entry in plan["steps"])
        raise RecipeError(Diagnostic("P009", f"the run {folder.name} has no step '{step}'", help=f"its steps: {names}"))
    journal = [json.loads(line) for line in read_text(folder / "journal.jsonl").splitlines() if line.endswith("}")]
    events = [event for event in journal if event.get("step") == step]
    lines = [f"{step}: {found['operator']} {found['because']}".rstrip(), f"  params: {json.dumps(found['params'])}"]
    lines += [f"  takes {port} from {source}" for port, source in found["inputs"].items()]
    lines += [f"  {event['time']} {event['event']} {event.get('because', '')}".rstrip() for event in events]
    return "\n".join(lines)
