"""`titrant inspect`: what a model is made of, whether a level suits it, and what the engines of a run really run."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.cli import console
from titrant.cli.console import table, wrapped
from titrant.cli.inspect_inside import call_inside, inside_options, looks_inside, refuse_rows
from titrant.cli.options import data_option, json_option, parse_json, recipe_options
from titrant.schema.diagnostics.diagnostics import INFEASIBLE, OK, Diagnostic, RecipeError
from titrant.schema.facts import DataFacts, Layer, ModelFacts, RoleFacts, TensorSpec
from titrant.schema.plan import by_reason
from titrant.schema.recipe.level import LEVEL_NAMES
from titrant.schema.record import NOT_TRIED, LayerPrecision, is_unlike
from titrant.schema.values.units import counted, format_size

if TYPE_CHECKING:
    from titrant.api.inspect import Inspected, RunLayers
    from titrant.compiler.predict.suitability import Suitability
    from titrant.runtime.report.search_values import Sensitivity
    from titrant.schema.release import Release

# More layers than this are shortened to the first and last of them.
_MOST_LAYERS, _FIRST, _LAST = 60, 40, 10
_MOST_NAME = 34
_MOST_NAMES = 3
_MOST_CLASSES = 8


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    recipe_options(parser)
    data_option(parser)
    help_text = (
        "a recipe, an .onnx, .pt2, TorchScript or .safetensors file, module:Name; or a run: folder, id, unique prefix, "
        "or latest"
    )
    parser.add_argument("model", metavar="MODEL|RECIPE|RUN", help=help_text)
    parser.add_argument("other", metavar="MODEL", nargs="?", help="hold the first beside this one, layer by layer")
    inside_options(parser)
    parser.add_argument(
        "--level", choices=LEVEL_NAMES, help="say whether this level suits; exit 3 when it cannot be met"
    )
    parser.add_argument("--args", metavar="JSON", help="arguments of a factory")
    parser.add_argument(
        "--inputs", metavar="JSON", help="inputs of a factory or a TorchScript file: a list of {name, shape, dtype}"
    )
    out_help = "draw the architecture too, into this file: .svg, or .html for a page with all that was found out"
    parser.add_argument("--out", metavar="FILE", help=out_help)
    json_option(parser, "everything")


def call(options: argparse.Namespace) -> int:
    """Inspect a model, or what a run's engines run; exit 3 when no method can meet the level here."""
    from titrant.api.inspect import check_out, inspect_run, is_run, release_alone, source_of
    from titrant.api.inspect import inspect as verb

    if looks_inside(options):
        return call_inside(options)
    refuse_rows(options)
    if options.out is not None:
        check_out(options.out)
    if is_run(options.model):
        _refuse_options(options)
        run = inspect_run(options.model)
        if options.json:
            console.answer_json(run)
        else:
            console.answer(run_text(run, whole=bool(options.verbose)))
        return OK
    # A released program is drawn where its file has a graph; else it is not looked at inside.
    drawn = options.out is not None and source_of(Path(options.model)) != ""
    release = None if drawn else release_alone(options.model)
    if release is not None:
        if options.out is not None:
            message = f"--out has nothing to draw in {options.model}, which titrant does not look into"
            raise RecipeError(
                Diagnostic("P014", message, help="draw the .onnx, .pt2 or TorchScript file, or the model")
            )
        if options.json:
            console.answer_json({"subject": options.model, "release": release})
        else:
            console.answer(_release(release))
        return OK
    inspected = verb(
        options.model,
        level=options.level,
        args=parse_json(options.args, "--args", dict),
        input_specs=parse_json(options.inputs, "--inputs", list),
        overrides=options.overrides,
        trust=options.trust,
        drawn=options.out is not None,
    )
    if options.out is not None:
        inspected.save(options.out)
    if options.json:
        console.answer_json(inspected)
    else:
        console.answer(inspect_text(inspected, whole=bool(options.verbose)))
        if options.out is not None:
            console.answer(f"\ndrawn in {options.out}")
    return OK if inspected.suitability is None or inspected.suitability.suits else INFEASIBLE


def _refuse_options(options: argparse.Namespace) -> None:
    given = [name for name in ("level", "args", "inputs", "overrides", "out") if getattr(options, name)]
    if given:
        flag = "--set" if given[0] == "overrides" else f"--{given[0]}"
        raise RecipeError(Diagnostic("P014", f"{flag} has nothing to act on in a run", help="leave it out"))


def run_text(run: "RunLayers", *, whole: bool = False) -> str:
    """Write, for each candidate, every layer with what was planned, what runs, and the engine's operator."""
    parts = [run.run]
    for candidate, layers in run.layers.items():
        title = f"{candidate} · released" if candidate in run.released else candidate
        if not layers:
            parts.append(f"{title}\n  nothing was read back of it")
            continue
        rows: list[tuple[str, ...]] = [("layer", "planned", "executed", "operator")]
        rows += [_layer(layer) for layer in layers]
        if not whole and len(layers) > _MOST_LAYERS:
            gap = (f"… {len(layers) - _FIRST - _LAST:,} more layers (-v shows them)", "", "", "")
            rows = [*rows[: _FIRST + 1], gap, *rows[-_LAST:]]
        unlike = sum(map(is_unlike, layers))
        said = f"{counted(unlike, 'layer')} unlike planned" if unlike else "every layer that was found runs as planned"
        parts.append(f"{title} · {said}\n{table(rows)}")
    if run.not_tried:
        parts.append(f"{NOT_TRIED}: {', '.join(run.not_tried)}")
    parts += [_sensitivity(name, sensitivity) for name, sensitivity in run.sensitivity.items()]
    return "\n\n".join(parts)


def _sensitivity(name: str, sensitivity: "Sensitivity") -> str:
    """Write what each region does to the answers in lower precision alone, the most damaging first."""
    check = sensitivity.check
    rows: list[tuple[str, ...]] = [("region", "layers", "damage", *([f"on {check.rows:,} rows"] if check else []))]
    for region in sorted(sensitivity.regions, key=lambda region: -region.kl):
        measured = [f"{check.regions[region.name]:.3g}"] if check else []
        rows.append((region.name, str(len(region.layers)), f"{region.kl:.3g}", *measured))
    layers = sum(len(region.layers) for region in sensitivity.regions)
    rows.append(("all at once", str(layers), f"{sensitivity.whole:.3g}", *([f"{check.whole:.3g}"] if check else [])))
    compares = check is not None and check.spearman is not None
    compared = f" · rank correlation with all rows {check.spearman:.2f}" if check and compares else ""
    title = f"sensitivity of {counted(len(sensitivity.regions), 'region')} on {sensitivity.rows:,} rows{compared}"
    return "\n".join([f"{name} · {title}", table(rows), *(f"  {note}" for note in sensitivity.notes)])


def _layer(layer: LayerPrecision) -> tuple[str, ...]:
    executed = f"✕ {layer.executed}" if is_unlike(layer) else layer.executed
    return layer.name or "(no layer of the original)", layer.planned, executed, layer.engine_op or "–"


def inspect_text(inspected: "Inspected", *, whole: bool = False) -> str:
    """Write the layers, the totals and, where asked for, how a level suits; `whole` shortens nothing."""
    from titrant.cli.block_table import block_table

    parts = [_layers(inspected.model, whole=whole), block_table(inspected.model), _totals(inspected.model)]
    if inspected.data is not None:
        parts.append(_data(inspected.data))
    if inspected.release is not None:
        parts.append(_release(inspected.release))
    if inspected.suitability is not None:
        parts.append(_suitability(inspected.suitability, whole=whole))
    return "\n\n".join(part for part in (inspected.subject, *parts) if part)


def _layers(model: ModelFacts, *, whole: bool) -> str:
    shown = [layer for layer in model.layers if whole or layer.weight_bytes or layer.flops]
    rows: list[tuple[str, ...]] = [("layer", "type", "shape", "dtype", "parameters", "bytes", "FLOPs", "trainable")]
    if whole or len(shown) <= _MOST_LAYERS:
        rows += [_row(layer, whole=whole) for layer in shown]
    else:
        rows += [_row(layer, whole=whole) for layer in shown[:_FIRST]]
        rows.append((f"… {len(shown) - _FIRST - _LAST:,} more layers (-v shows them)", *[""] * 7))
        rows += [_row(layer, whole=whole) for layer in shown[-_LAST:]]
    lines = table(_aligned(rows))
    empty = Counter(layer.type for layer in model.layers if not (layer.weight_bytes or layer.flops))
    if empty and not whole:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in empty.most_common(6))
        lines += f"\n  without weights: {kinds}" + (" …" if len(empty) > 6 else "")
    return lines


def _row(layer: Layer, *, whole: bool) -> tuple[str, ...]:
    name = layer.name if whole or len(layer.name) <= _MOST_NAME else f"…{layer.name[1 - _MOST_NAME :]}"
    return (
        name,
        layer.type or "–",
        "×".join(map(str, layer.weight_shape)) or "–",
        layer.dtype or "–",
        f"{layer.parameters:,}",
        format_size(layer.weight_bytes),
        "–" if layer.flops is None else _count(layer.flops),
        "yes" if layer.trainable else "no",
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Set numbers flush right; a line with one cell only runs on."""
    full = [row for row in rows if any(row[1:])]
    widths = [max(len(row[place]) for row in full) for place in range(8)]
    numbers = (4, 5, 6)
    return [
        tuple(
            cell.rjust(widths[place]) if place in numbers and any(row[1:]) else cell for place, cell in enumerate(row)
        )
        for row in rows
    ]


def _totals(model: ModelFacts) -> str:
    part = "all" if model.trainable == model.parameters else f"{model.trainable:,}"
    trains = "" if model.source != "factory" else f", {part} trainable; tied weights counted once"
    rows = [
        ("layers", f"{len(model.layers):,}"),
        ("parameters", f"{model.parameters:,}{trains}"),
        ("weights", format_size(model.weight_bytes)),
        ("FLOPs", "unknown" if model.flops is None else f"{_count(model.flops)} a case, two per multiply-add"),
        ("activations", _size(model.activation_bytes)),
        ("inputs", "; ".join(map(_spec, model.inputs)) or "not given: name them with --inputs to count FLOPs"),
        ("outputs", "; ".join(map(_spec, model.outputs)) or "unknown"),
    ]
    if model.source == "weights":
        rows = rows[:3]
    return _said(rows, model.notes)


def _data(data: DataFacts) -> str:
    gaps = [column for column in data.columns if column.missing]
    rows = [
        ("rows", f"{data.rows:,}"),
        ("columns", f"{len(data.columns):,}"),
        ("classes", ", ".join(data.classes) or "none"),
        ("positive", data.positive or "not said"),
        ("missing", ", ".join(f"{column.name} {column.missing:,}" for column in gaps[:6]) or "none"),
    ]
    rows += [(role, _role(facts)) for role, facts in data.roles.items()]
    return f"data\n{_said(rows, data.notes)}"


def _judged_in(release: "Release") -> str:
    from titrant.runtime.backends import backend

    code = backend.kind_of_format(release.format).weights_for if release.format in backend.formats() else ""
    return f"weights for {code}, judged in the original's modules" if code else f"in {release.engine}"


def _release(release: "Release") -> str:
    batch = "" if release.batch is None else f", {release.batch} at once"
    rows = [
        ("recipe", f"{release.recipe}, digest {release.recipe_digest}"),
        ("plan", release.plan),
        ("candidate", f"{release.candidate}: method {release.method}, {_judged_in(release)}"),
        ("contract", f"{release.verdict}: {', '.join(release.passed) or 'no gate'} passed"),
        *([("not proven", ", ".join(release.open))] if release.open else []),
        *(("waived", words) for words in release.waived),
        ("judged on", f"{release.processor or release.machine} ({', '.join(release.instructions) or 'unknown'})"),
        ("", f"{release.threads} {'thread' if release.threads == 1 else 'threads'}{batch}"),
        ("titrant", release.titrant),
    ]
    return f"released by titrant\n{table(rows)}"


def _said(rows: Sequence[tuple[str, str]], notes: Sequence[str]) -> str:
    """Lay out what is known and what was noted."""
    return table([*rows, *(("note", note) for note in notes)])


def _role(facts: RoleFacts) -> str:
    classes = list(facts.classes.items())
    shown = [f"{name} {count:,}" for name, count in classes[:_MOST_CLASSES]]
    more = [f"{len(classes) - _MOST_CLASSES} more classes"] if len(classes) > _MOST_CLASSES else []
    return ", ".join([f"{facts.rows:,} rows", *shown, *more])


def _suitability(suitability: "Suitability", *, whole: bool) -> str:
    lines = [_wrapped(suitability.verdict, indent=0), _wrapped(f"level {suitability.level}: {suitability.because}")]
    if suitability.chosen:
        lines.append(_wrapped(f"would make: {', '.join(suitability.chosen)}"))
    against = by_reason(suitability.rejected)
    lines += [_wrapped(f"without {', '.join(names)}: {reason}") for reason, names in against.items()]
    lines += [_wrapped(f"warning: {text}") for text in suitability.warnings]
    by_text: dict[str, list[str]] = {}
    for layer in suitability.layers:
        for warning in layer.warnings:
            by_text.setdefault(warning, []).append(layer.name)
    if by_text:
        lines.append("  by layer")
    for text, names in by_text.items():
        lines.append(_wrapped(f"{_names(names, whole=whole)}: {text}", indent=4))
    return "\n".join(lines)


def _names(names: list[str], *, whole: bool) -> str:
    if whole or len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES:,} more"


def _wrapped(text: str, indent: int = 2) -> str:
    return wrapped(text, " " * indent, " " * (indent + 4))


def _spec(spec: TensorSpec) -> str:
    return f"{spec.name} ({', '.join(map(str, spec.shape))}) {spec.dtype}"


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{format_size(size)} a case"


def _count(number: int) -> str:
    for limit, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {letter}"
    return str(number)
