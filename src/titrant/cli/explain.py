"""`titrant explain`: a code, a value of a recipe, a step of a run."""

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from titrant.cli import console
from titrant.cli.console import wrapped
from titrant.cli.options import recipe_options, refuse_set
from titrant.schema.diagnostics.diagnostics import OK

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from titrant.api.explain import ExplainedStep
    from titrant.api.explain_value import ExplainedValue
    from titrant.schema.diagnostics.diagnostics import Code
    from titrant.schema.language.parse import ParsedRecipe, Saying
    from titrant.schema.language.spans import KeyPath


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    parser.add_argument("subject", metavar="RECIPE|RUN|CODE")
    parser.add_argument(
        "item", nargs="?", metavar="PATH|STEP", help="a recipe path such as quantization.method, or a step"
    )


def call(options: argparse.Namespace) -> int:
    """Explain a diagnostic code, a value of a recipe, or a step of a run."""
    from titrant.api.explain import explain as verb
    from titrant.api.explain import is_recipe

    if not is_recipe(options.subject):
        refuse_set(options, f"'{options.subject}'", trust_too=True)
    console.answer(
        explained_text(verb(options.subject, options.item, overrides=options.overrides, trust=options.trust))
    )
    return OK


def explained_text(explained: "Code | ExplainedStep | ExplainedValue") -> str:
    """Write what an explanation says."""
    from titrant.api.explain import ExplainedStep
    from titrant.schema.diagnostics.diagnostics import Code

    if isinstance(explained, Code):
        return _code_text(explained)
    return "\n".join(_step_lines(explained) if isinstance(explained, ExplainedStep) else _value_lines(explained))


def _code_text(code: "Code") -> str:
    parts = [f"{code.code}: {code.title}", wrapped(code.explanation, "", "")]
    parts += [f"{title}:\n{_indent(text)}" for title, text in (("wrong", code.wrong), ("right", code.right)) if text]
    return "\n\n".join(parts)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _step_lines(step: "ExplainedStep") -> Iterator[str]:
    yield wrapped(f"{step.id}: {step.operator} {step.because}".rstrip(), "", "  ")
    yield wrapped(f"params: {json.dumps(step.params, ensure_ascii=False)}", "  ", "    ")
    for port, source in step.inputs.items():
        yield f"  takes {port} from {source}"
    for event in step.events:
        said = f"{event.get('time', '')} {event['event']} {event.get('because', '')}".strip()
        yield wrapped(said, "  ", "    ")
    if not step.events:
        yield "  it did not run"
    if step.candidate:
        yield wrapped(f"{step.candidate}: {step.became}{f' · {step.why}' if step.why else ''}", "  ", "    ")
    if step.left:
        yield wrapped(f"layers that it leaves in float: {', '.join(step.left)}", "  ", "    ")


def _value_lines(explained: "ExplainedValue") -> Iterator[str]:
    """Say what stands at a path, where it comes from, what it means, and what rules make of it."""
    from titrant.schema.language.spans import dotted

    parsed, path = explained.recipe, explained.path
    said = path in {*parsed.source.paths()}
    value = value_text(_value(parsed, path)) if said else default_text(path)
    yield wrapped(f"{dotted(path)}: {value}", "", "    ")
    yield from _origin(parsed, path, explained.sayings, said)
    yield from _parts(parsed, path)
    yield from (wrapped(line, "  ", "    ") for line in (*meaning(path), later(path)) if line)
    yield from _rule_lines(explained)


def _value(parsed: "ParsedRecipe", path: "KeyPath") -> Any:
    from titrant.schema.language.parse import node_at
    from titrant.schema.language.yaml_tree import plain_value

    node = node_at(parsed.source.root, path)
    return None if node is None else plain_value(node)


def _origin(parsed: "ParsedRecipe", path: "KeyPath", texts: "Sequence[Saying]", said: bool) -> Iterator[str]:
    """Say which text the value comes from, and what it stands in place of."""
    from titrant.schema.language.parse import leaves

    if not said:
        if texts:  # `none` over a base's value
            last = texts[-1]
            yield f"  taken out: {last.place} says {value_text(last.value)}"
            yield from _instead(path, texts[:-1])
        else:
            yield f"  not written in {parsed.file}" + (" or its base" if parsed.recipe.extends else "")
        return
    last = texts[-1]
    if last.by == "flag":
        yield f"  given by --set {last.place.text}"
    elif last.by == "base":
        yield f"  written in the base, {last.place}, which {parsed.source.place(('extends',), 'value')} extends"
    else:
        yield f"  written at {last.place}"
    if len(leaves(parsed, path)) == 1 and leaves(parsed, path)[0] == path:
        yield from _instead(path, texts[:-1])


def _instead(path: "KeyPath", texts: "Sequence[Saying]") -> Iterator[str]:
    for saying in reversed(texts):
        yield f"  in place of {value_text(saying.value)} at {saying.place}"


def _parts(parsed: "ParsedRecipe", path: "KeyPath") -> Iterator[str]:
    """List what is written below a section, each with its place."""
    from titrant.schema.language.parse import leaves
    from titrant.schema.language.spans import dotted

    below = [key for key in leaves(parsed, path) if key != path]
    for key in below:
        place = parsed.source.place(key)
        where = f"--set {place.text}" if place.file == "--set" else str(place)
        yield f"    {dotted(key)}: {value_text(_value(parsed, key))}  [{where}]"


def _rule_lines(explained: "ExplainedValue") -> Iterator[str]:
    from titrant.cli.plan import decision_text
    from titrant.schema.gate import threshold_words

    if (why := explained.unplanned) is not None:
        text = f"what the rules make of it is not known, since the recipe cannot be planned: {why.message} ({why.code})"
        yield wrapped(text, "  ", "    ")
    if explained.decisions:
        yield "decided for this machine, model and data:"
    for decision in explained.decisions:
        yield decision_text(decision, whole=True)
    if explained.gates:
        yield "in the contract:"
    for gate in explained.gates:
        where = "" if gate.slice == "all" else f" on {gate.slice}"
        yield wrapped(f"{gate.id}: {gate.metric}{where} {threshold_words(gate)} · {gate.origin}", "  ", "      ")


def value_text(value: Any) -> str:
    """Write a value as it would stand in one line of a recipe."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def default_text(path: "KeyPath") -> str:
    """Write what the language itself says where nothing is written."""
    from pydantic import BaseModel

    from titrant.compiler.bind.availability import does_nothing_yet
    from titrant.schema.language.expected import expected

    info = field_of(path)
    if info is None:
        return "nothing"
    if info.is_required():
        return "nothing; it has no default"
    value = info.get_default(call_default_factory=True)
    if does_nothing_yet(path, value):
        default = (
            "the defaults of its keys do" if isinstance(value, BaseModel) else f"its default, {value_text(value)}, does"
        )
        return f"later ({default} nothing in this version)"
    if value is None and any(get_args(kind.type) == ("none",) for kind in expected(path)):
        return "nothing (a level may supply it)"
    if isinstance(value, BaseModel) or (
        isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value)
    ):
        return "the defaults of its keys"
    return f"{value_text(value)} (the default)"


def meaning(path: "KeyPath") -> Iterator[str]:
    """Give the lines that say what a key is for and what may stand there."""
    from titrant.schema.language.expected import describe, expected, fields, words

    info = field_of(path)
    if info is not None and info.description:
        yield f"meaning: {info.description}"
    kinds = expected(path)
    plain = tuple(kind for kind in kinds if not fields((kind,)))
    if len(words(plain)) > 6:
        others = tuple(kind for kind in plain if not words((kind,)))
        yield "takes: " + ", ".join([*(f"`{word}`" for word in words(plain)), *([describe(others)] if others else [])])
    elif plain:
        yield f"takes: {describe(plain)}"
    if keys := list(fields(kinds)):
        yield "keys: " + ", ".join(f"`{key}`" for key in keys)


def field_of(path: "KeyPath") -> "FieldInfo | None":
    """Return the model field of a path; for an entry of a list or of a free mapping, None."""
    from titrant.schema.language.expected import expected, fields

    last = path[-1]
    return fields(expected(path[:-1])).get(last) if isinstance(last, str) else None


def later(path: "KeyPath") -> str:
    """Say that a key waits for a later version; "" for one that works."""
    from titrant.compiler.bind.availability import later_of, later_values
    from titrant.schema.language.spans import dotted

    if (waiting := later_of(path)) is not None:
        key, harmless = waiting
        other = [value_text(value) for value in harmless if not isinstance(value, tuple)]
        beside = f", other than {' or '.join(f'`{text}`' for text in other)}" if other else ""
        return f"`{dotted(key)}` is not available in this version{beside}"
    values = later_values().get(tuple("*" if isinstance(part, int) else str(part) for part in path))
    return "this version has " + ", ".join(f"`{value}`" for value in values) if values else ""
