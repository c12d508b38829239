"""Explain where a value of a recipe comes from: a line, the base, a flag, a level, a rule, a default."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from titrant.layout import wrapped
from titrant.plan_text import decision_text
from titrant.schema.compose import plain_value
from titrant.schema.diagnostics import Diagnostic, RecipeError, TitrantError
from titrant.schema.expected import expected, fields, homes
from titrant.schema.gate_words import threshold_words
from titrant.schema.layers import Saying, leaves, node_at, sayings
from titrant.schema.nearest import nearest
from titrant.schema.paths import parse_path
from titrant.schema.plan import Decision, Plan
from titrant.schema.source import ParsedRecipe, read
from titrant.schema.spans import dotted
from titrant.verbs.key_meaning import default_text, later, meaning, value_text

Keys = tuple[str | int, ...]
# Paths about which a decision rule may have a say; everything else is what the texts or the language's defaults say.
DECIDED: tuple[Keys, ...] = (
    ("level",), ("target", "device"), ("target", "threads"), ("target", "engine"), ("reproducibility", "threads"),
    ("model", "weights"), ("model", "factory"), ("model", "onnx"), ("model", "args"), ("data", "source"),
    ("data", "subgroups"), ("data", "split"), ("train", "learning_rate"), ("train", "loss"), ("train", "early_stop"),
    ("export",), ("quantization",), ("search", "objective"), ("validation",), ("profile", "batches"),
    ("profile", "iterations"), ("profile", "warmup"), ("report", "evidence"),
)  # fmt: skip
# Subjects of decisions that are not paths of the recipe → the paths that they are about.
ABOUT: dict[str, tuple[Keys, ...]] = {
    "original": (("model", "factory"), ("model", "onnx")),
    "weights": (("model", "weights"),),
    "batch invariance": (("validation", "batch_invariance"),),
    "model": (("model", "weights"), ("model", "factory"), ("model", "onnx")),
    "data": (("data", "split"), ("data", "subgroups"), ("data", "source")),
}


def explain_value(recipe: Path, text: str, overrides: Sequence[str], trust: bool) -> str:
    """Say what stands at a path of a recipe, where it comes from, what it means, and what rules make of it.

    The machine, the model and the data are only looked at where a rule may decide. RecipeError (P009) for a path that
    the language does not have.
    """
    parsed = read(recipe, overrides)
    path = _known(text)
    found = sayings(parsed, path)
    said = path in {*parsed.source.paths()}
    value = value_text(_value(parsed, path)) if said else default_text(path)
    lines = [wrapped(f"{dotted(path)}: {value}", "", "    ")]
    lines += _origin(parsed, path, found, said)
    lines += _parts(parsed, path)
    lines += [wrapped(line, "  ", "    ") for line in (*meaning(path), later(path)) if line]
    if any(_touches(path, decided) for decided in DECIDED):
        lines += _decided(parsed, path, trust)
    return "\n".join(lines)


def _known(text: str) -> Keys:
    """Read a path; RecipeError, naming the nearest key, for one that no recipe can have."""
    try:
        path = parse_path(text)
    except ValueError as error:
        raise RecipeError(Diagnostic("P009", str(error), help="such as target.threads or export[0].format")) from None
    for depth in range(1, len(path) + 1):
        if not expected(path[:depth]):
            raise RecipeError(_unknown(path[: depth - 1], path[depth - 1]))
    return path


def _unknown(parents: Keys, part: str | int) -> Diagnostic:
    where = f"in `{dotted(parents)}`" if parents else "at the top of a recipe"
    allowed = list(fields(expected(parents)))
    elsewhere = homes().get(str(part), ())
    if close := nearest(str(part), allowed):
        advice = f"did you mean `{dotted((*parents, close))}`?"
    elif elsewhere:
        advice = "it belongs at " + " or ".join(f"`{one}`" for one in elsewhere[:3])
    elif allowed:
        advice = "the keys here are " + ", ".join(f"`{name}`" for name in allowed)
    else:
        advice = f"`{dotted(parents)}` has no keys of its own" if parents else "titrant show schema lists every key"
    return Diagnostic("P009", f"the recipe language has no `{part}` {where}", help=advice)


def _value(parsed: ParsedRecipe, path: Keys) -> Any:
    node = node_at(parsed.source.root, path)
    return None if node is None else plain_value(node)


def _origin(parsed: ParsedRecipe, path: Keys, found: Sequence[Saying], said: bool) -> Iterator[str]:
    """Say which text the value comes from, and what it stands in place of."""
    if not said:
        if found:  # `none` over a base's value
            last = found[-1]
            yield f"  taken out: {last.place} says {value_text(last.value)}"
            yield from _instead(path, found[:-1])
        else:
            yield f"  not written in {parsed.file}" + (" or its base" if parsed.recipe.extends else "")
        return
    last = found[-1]
    if last.by == "flag":
        yield f"  given by --set {last.place.text}"
    elif last.by == "base":
        yield f"  written in the base, {last.place}, which {parsed.source.place(('extends',), 'value')} extends"
    else:
        yield f"  written at {last.place}"
    if len(leaves(parsed, path)) == 1 and leaves(parsed, path)[0] == path:
        yield from _instead(path, found[:-1])


def _instead(path: Keys, found: Sequence[Saying]) -> Iterator[str]:
    for one in reversed(found):
        yield f"  in place of {value_text(one.value)} at {one.place}"


def _parts(parsed: ParsedRecipe, path: Keys) -> Iterator[str]:
    """List what is written below a section, each with its place."""
    below = [one for one in leaves(parsed, path) if one != path]
    for one in below:
        place = parsed.source.place(one)
        where = f"--set {place.text}" if place.file == "--set" else str(place)
        yield f"    {dotted(one)}: {value_text(_value(parsed, one))}  [{where}]"


def _touches(path: Keys, decided: Keys) -> bool:
    depth = min(len(path), len(decided))
    return path[:depth] == decided[:depth]


def _decided(parsed: ParsedRecipe, path: Keys, trust: bool) -> Iterator[str]:
    """Plan, and show the decisions and the rows of the contract that are about the path."""
    from titrant.verbs.plan import plan

    try:
        made = plan(parsed, trust=trust).plan
    except TitrantError as error:
        one = error.diagnostics[0]
        if one.where is not None and one.code.startswith("R1"):
            raise
        text = f"what the rules make of it is not known, since the recipe cannot be planned: {one.message} ({one.code})"
        yield wrapped(text, "  ", "    ")
        return
    decisions = [one for one in made.decisions if _about(one, path)]
    yield from _decision_lines(decisions)
    yield from _gate_lines(made, path)


def _about(decision: Decision, path: Keys) -> bool:
    if decision.subject in ABOUT:
        return any(_touches(path, subject) for subject in ABOUT[decision.subject])
    try:
        return _touches(path, parse_path(decision.subject))
    except ValueError:
        return False


def _decision_lines(decisions: Sequence[Decision]) -> Iterator[str]:
    if decisions:
        yield "decided for this machine, model and data:"
    for one in decisions:
        yield decision_text(one)


def _gate_lines(made: Plan, path: Keys) -> Iterator[str]:
    if path[:1] not in (("validation",), ("target",)):
        return
    gates = [gate for gate in made.contract.gates if len(path) == 1 or gate.id.split(".")[0] == path[1]]
    if gates:
        yield "in the contract:"
    for gate in gates:
        where = "" if gate.slice == "all" else f" on {gate.slice}"
        yield wrapped(f"{gate.id}: {gate.metric}{where} {threshold_words(gate)} · {gate.origin}", "  ", "      ")
