"""Export a live module to a file of any format that the installed engines bring, and compare the file's answers."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from titrant.runtime.backends import backend, kinds
from titrant.runtime.backends.model_kind import ModelKind
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.language.nearest import nearest
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.runtime.values import Rows, TorchModel

# Rows of inputs that are made up: more than one, so that what depends on the batch size shows.
_ROWS = 4
# The kind of a live module.
_MODULE = "torch"


@dataclass(frozen=True)
class Exported:
    """A file that a module was exported to, and how far its answers are from the module's.

    `absolute` and `relative` are the largest differences of any output over `rows` example rows, the latter to that
    output's largest answer. `engine` is what answered, of weights alone the module's own; `opset` is the ONNX operator
    set, None for other formats.
    """

    path: Path
    format: str
    engine: str
    rows: int
    absolute: float
    relative: float
    opset: int | None = None


def export(
    model: "torch.nn.Module",
    format: str,
    path: Path | str,
    *,
    inputs: "ModelInputs | Rows | None" = None,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    dtype: str | Mapping[str, str] | None = None,
    opset: int | None = None,
    tolerance: float = 1e-4,
) -> Exported:
    """Write a module in evaluation mode to `path` as `format` (onnx, torchscript …); the module stays as it is.

    What it takes is shown by `inputs`: a tensor or array, a sequence of them in the order of the forward's arguments,
    or a mapping of their names to them, rows first; or by a `shape` with the batch first and a `dtype` (float32), each
    of one input or by name, for which numbers are drawn. `opset` is the ONNX operator set, by
    default the lowest that can hold the module; `tolerance` is how far answers may be apart, relative to the largest.
    A path without the format's ending gets it; several files, as ONNX above 2 GB, become a folder. Raises RecipeError
    X370 for a format that a module cannot become here, X371 for a path that cannot be written, X372 for inputs that are
    not shown; PreconditionError X206 where the forward decides on values and the format holds one path, StepError X208
    where answers differ.
    """
    from titrant.api.live.values import live_model
    from titrant.runtime.backends.session import check_parity, measure_parity

    kind = _kind(format)
    rows = example_rows(model, inputs, shape, dtype)
    target = _target(Path(path), kind)
    live = live_model(model, rows.inputs)
    with tempfile.TemporaryDirectory(prefix="titrant-export-") as folder:
        made, opset = _converted(live, rows, kind, {"opset": opset, "tolerance": tolerance}, Path(folder))
        saved = Path(folder) / "saved"
        saved.mkdir()
        kinds.save(kind.name, made, saved)
        engine, own = backend.engines_of(kind.name)[0], backend.engines_of(_MODULE)[0]
        if kind.weights_into is not None:
            engine, made = own, kind.weights_into(saved / kind.file, live)
        parity = check_parity(
            measure_parity(_answers(own, live, rows), _answers(engine, made, rows)), tolerance, kind.label
        )
        written = _place(saved, target)
    return Exported(written, format, engine, parity["rows"], parity["absolute"], parity["relative"], opset)


def _kind(form: str) -> ModelKind:
    """Return the kind of a format that a module can become; RecipeError X370 for another."""
    ways = {name: backend.conversion(_MODULE, backend.kind_of_format(name).name) for name in backend.formats()}
    there = [name for name, way in ways.items() if way is not None]
    if form in there:
        return backend.kind_of_format(form)
    near = nearest(form, there)
    advice = f"did you mean {near}?" if near else f"a module can become {', '.join(there)}"
    raise RecipeError(Diagnostic("X370", f"nothing here makes {form} of a module", help=advice))


def _converted(
    live: "TorchModel", rows: "Rows", kind: ModelKind, asked: Mapping[str, Any], folder: Path
) -> tuple[Any, int | None]:
    """Run the operators from a module to a kind, each in a folder of its own; returns what they gave, and the opset.

    RecipeError X370 for a package that is missing, and for an operator set that no step of the way can be told.
    """
    from titrant.api.apply import apply
    from titrant.compiler.machine.detect import detect
    from titrant.runtime import catalog

    value: Any = live
    measured: dict[str, float] = {}
    way = [catalog.get(operator) for operator, _ in backend.conversion(live.kind, kind.name) or ()]
    if asked["opset"] is not None and not any("opset" in item.params.model_fields for item in way):
        raise RecipeError(Diagnostic("X370", f"{kind.format} has no ONNX operator set", help="leave `opset` out"))
    for place, declaration in enumerate(way):
        params = {name: item for name, item in asked.items() if name in declaration.params.model_fields}
        unmet = declaration.requires(declaration.params.model_validate(params), detect(), None)
        if unmet:
            message = f"{kind.format} cannot be written here: {unmet[0].cause}"
            raise RecipeError(Diagnostic("X370", message, help=unmet[0].remedy))
        scratch = folder / str(place)
        scratch.mkdir()
        given = {"model": value} | ({"example": rows} if "example" in declaration.inputs else {})
        applied = apply(declaration.name, given, params, scratch=scratch)
        value, measured = applied.outputs["model"], {**measured, **applied.measurements}
    return value, int(measured["opset"]) if "opset" in measured else None


def _answers(engine: str, model: Any, rows: "Rows") -> dict[str, np.ndarray]:
    from titrant.runtime.backends.session import answer_rows, open_session

    with open_session(engine, model, threads=1) as session:
        return answer_rows(session, dict(rows.inputs), len(rows), len(rows))


def example_rows(model: "torch.nn.Module", inputs: Any, shape: Any = None, dtype: Any = None) -> "Rows":
    """Return the rows that show what a module takes; RecipeError X372 where nothing does."""
    from titrant.api.live.values import live_rows
    from titrant.runtime.values import Rows

    if (inputs is None) == (shape is None):
        message = "inputs and a shape say the same" if shape is not None else "nothing shows what the module takes"
        advice = 'give one of them: inputs={"x": array}, or shape=(1, 3, 32, 32)'
        raise RecipeError(Diagnostic("X372", message, help=advice))
    if isinstance(inputs, Rows):
        return inputs
    if inputs is None:
        return live_rows("inputs", _drawn(model, shape, dtype or "float32"))
    if isinstance(inputs, Mapping):
        return live_rows("inputs", inputs)
    return live_rows("inputs", _by_name(model, list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]))


def _drawn(model: "torch.nn.Module", shape: Any, dtype: Any) -> dict[str, np.ndarray]:
    """Draw numbers of a shape, normal ones or for whole numbers 0 and 1, always the same."""
    shapes = dict(shape) if isinstance(shape, Mapping) else _by_name(model, [shape])
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, given in shapes.items():
        sizes = tuple(given)
        kind = dtype.get(name, "float32") if isinstance(dtype, Mapping) else dtype
        if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
            message = f"the shape of {name} is {sizes}, and sizes are whole numbers above 0, the batch first"
            raise RecipeError(Diagnostic("X372", message, help="write shape=(1, 3, 32, 32)"))
        if kind not in ("float32", "int64"):
            raise RecipeError(Diagnostic("X372", f"the dtype of {name} is {kind}", help="write float32 or int64"))
        full = (max(_ROWS, sizes[0]), *sizes[1:])
        drawn = generator.standard_normal(full) if kind == "float32" else generator.integers(0, 2, full)
        arrays[name] = drawn.astype(kind)
    return arrays


def _by_name(model: "torch.nn.Module", given: Sequence[Any]) -> dict[str, Any]:
    """Name what is given in the order of the forward's arguments; RecipeError X372 where it has fewer."""
    from titrant.runtime.backends.torch.arguments import signature_of

    names = [item.name for item in signature_of(model).inputs] or [f"input_{place}" for place in range(len(given))]
    if len(given) > len(names):
        message = f"the module takes {', '.join(names)}, and {len(given)} inputs are given"
        raise RecipeError(Diagnostic("X372", message, help='give them by name: {"x": array}'))
    return dict(zip(names, given, strict=False))


def _target(path: Path, kind: ModelKind) -> Path:
    """Return where a file goes, with its ending; RecipeError X371 for what cannot be written or says another format."""
    suffixes = {other.suffix for other in backend.kinds().values() if other.suffix} - {kind.suffix}
    if kind.suffix and path.suffix in suffixes:
        message = f"{path.name} ends as another format does: a {kind.format} file ends in {kind.suffix}"
        raise RecipeError(Diagnostic("X371", message, help=f"name it {path.with_suffix(kind.suffix).name}"))
    target = path if not kind.suffix or path.suffix == kind.suffix else path.with_name(path.name + kind.suffix)
    if not target.parent.is_dir():
        raise RecipeError(Diagnostic("X371", f"there is no folder {target.parent}", help="make it first"))
    if target.is_dir():
        raise RecipeError(Diagnostic("X371", f"{target} is a folder", help="choose another name"))
    return target


def _place(saved: Path, target: Path) -> Path:
    """Put what was written in its place by renaming, several files as a folder, and return where they are.

    Raises RecipeError X371 for a folder that holds anything else.
    """
    files = sorted(file.name for file in saved.iterdir())
    if len(files) > 1:
        target = target.with_suffix("")
        there = sorted(file.name for file in target.iterdir()) if target.is_dir() else []
        if target.is_file() or not {*there} <= {*files}:
            message = f"{', '.join(files)} belong into a folder of their own, and {target} is there already"
            raise RecipeError(Diagnostic("X371", message, help="choose another name"))
    beside = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(beside, ignore_errors=True)
    if len(files) > 1:
        shutil.copytree(saved, beside)
        shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.copyfile(saved / files[0], beside)
    beside.replace(target)
    return target
