"""Explain a value of a recipe: where it comes from, and what the rules make of it."""

from collections.abc import Sequence
from pathlib import Path

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, TitrantError
from titrant.schema.gate import Gate
from titrant.schema.language.expected import expected, fields, homes
from titrant.schema.language.nearest import nearest
from titrant.schema.language.parse import ParsedRecipe, Saying, read, sayings
from titrant.schema.language.spans import KeyPath, dotted, parse_path
from titrant.schema.plan import Decision, Plan
from titrant.schema.values.frozen import dataclass

# Paths about which a decision rule may have a say; everything else is what the texts or the language's defaults say.
DECIDED: tuple[KeyPath, ...] = (
    ("level",), ("target", "device"), ("target", "threads"), ("target", "engine"), ("reproducibility", "threads"),
    ("model", "weights"), ("model", "factory"), ("model", "onnx"), ("model", "args"), ("data", "source"),
    ("data", "subgroups"), ("data", "split"), ("train", "learning_rate"), ("train", "loss"), ("train", "early_stop"),
    ("memory", "layout"), ("export",), ("quantization",), ("search",), ("validation",), ("profile", "batches"),
    ("profile", "iterations"), ("profile", "warmup"), ("report", "evidence"),
)  # fmt: skip
# Subjects of decisions that are not paths of the recipe → the paths that they are about.
ABOUT: dict[str, tuple[KeyPath, ...]] = {
    "original": (("model", "factory"), ("model", "onnx")),
    "weights": (("model", "weights"),),
    "model": (("model", "weights"), ("model", "factory"), ("model", "onnx")),
    "data": (("data", "split"), ("data", "subgroups"), ("data", "source")),
}


@dataclass(frozen=True)
class ExplainedValue:
    """What is known of a path of a recipe.

    `sayings` are the texts that say something there, the one that counts last. `decisions` and `gates` are what the
    rules make of it; where the recipe cannot be planned, `unplanned` says why and both are empty.
    """

    recipe: ParsedRecipe
    path: KeyPath
    sayings: tuple[Saying, ...]
    decisions: tuple[Decision, ...] = ()
    gates: tuple[Gate, ...] = ()
    unplanned: Diagnostic | None = None


def explain_value(recipe: Path, text: str, overrides: Sequence[str], trust: bool) -> ExplainedValue:
    """Find out where a value comes from and what rules make of it.

    The machine, the model and the data are only looked at where a rule may decide. RecipeError (P009) for a path that
    the language does not have.
    """
    parsed = read(recipe, overrides)
    path = _read_path(text)
    said = sayings(parsed, path)
    if not any(_touches(path, decided) for decided in DECIDED):
        return ExplainedValue(parsed, path, said)

    from titrant.api.plan import plan

    try:
        made = plan(parsed, trust=trust).plan
    except TitrantError as error:
        first = error.diagnostics[0]
        if first.where is not None and first.code.startswith("R1"):
            raise
        return ExplainedValue(parsed, path, said, unplanned=first)
    decisions = tuple(decision for decision in made.decisions if _about(decision, path))
    return ExplainedValue(parsed, path, said, decisions, _gates(made, path))


def _read_path(text: str) -> KeyPath:
    """Read a path; RecipeError, naming the nearest key, for one that no recipe can have."""
    try:
        path = parse_path(text)
    except ValueError as error:
        raise RecipeError(Diagnostic("P009", str(error), help="such as target.threads or export[0].format")) from None
    for depth in range(1, len(path) + 1):
        if not expected(path[:depth]):
            raise RecipeError(_unknown(path[: depth - 1], path[depth - 1]))
    return path


def _unknown(parents: KeyPath, part: str | int) -> Diagnostic:
    where = f"in `{dotted(parents)}`" if parents else "at the top of a recipe"
    allowed = list(fields(expected(parents)))
    elsewhere = homes().get(str(part), ())
    if close := nearest(str(part), allowed):
        advice = f"did you mean `{dotted((*parents, close))}`?"
    elif elsewhere:
        advice = "it belongs at " + " or ".join(f"`{home}`" for home in elsewhere[:3])
    elif allowed:
        advice = "the keys here are " + ", ".join(f"`{name}`" for name in allowed)
    else:
        advice = f"`{dotted(parents)}` has no keys of its own" if parents else "titrant show schema lists every key"
    return Diagnostic("P009", f"the recipe language has no `{part}` {where}", help=advice)


def _touches(path: KeyPath, decided: KeyPath) -> bool:
    depth = min(len(path), len(decided))
    return path[:depth] == decided[:depth]


def _about(decision: Decision, path: KeyPath) -> bool:
    if decision.subject in ABOUT:
        return any(_touches(path, subject) for subject in ABOUT[decision.subject])
    try:
        return _touches(path, parse_path(decision.subject))
    except ValueError:
        return False


def _gates(made: Plan, path: KeyPath) -> tuple[Gate, ...]:
    if path[:1] not in (("validation",), ("target",)):
        return ()
    return tuple(gate for gate in made.contract.gates if len(path) == 1 or gate.id.split(".")[0] == path[1])
