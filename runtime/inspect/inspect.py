"""Find out what a model and its data are, in a child process of the compiler.

The request is what `titrant.compiler.facts.inspect.request` gives:
{"seed": int, "steps": {"data.load": params, "data.split": params, "data.transform": params,
"model.load", or "model.load_onnx" and the like for another file: params}}, each params the JSON of that operator's
parameter model; "others" has those of model.load for the models beside the original, by key.
"""

import gc
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.backends.torch.factory import source_files
from titrant.runtime.inspect.weights import BY_HEADER
from titrant.runtime.operators.model.load import ModelLoadParams
from titrant.runtime.operators.model.load_exported import ModelLoadExportedParams
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams
from titrant.runtime.operators.model.load_torchscript import ModelLoadTorchscriptParams
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.facts import DataFacts, ModelFacts, TensorSpec
from titrant.schema.plan import files_in
from titrant.schema.values.canonical import plain, without_defaults

if TYPE_CHECKING:
    from titrant.runtime.inspect.onnx import OnnxReading
    from titrant.runtime.values import Tables


def inspect(request: Mapping[str, Any], loaded: "tuple[Tables, float] | None" = None) -> dict[str, Any]:
    """Load the data as the plan will, look at the model, and say which files the answer rests on.

    Returns {"model": plain(ModelFacts), "data": plain(DataFacts), "dependencies": [{"path", "digest"}, …],
    "parts": [path, …]}; the dependencies are the user's modules and the files that the request names by their content;
    "parts" are the files outside an ONNX file that hold its weights, seen from its folder. A request without the steps
    of data asks for the model alone, whose "data" is None, and with "first_look" for what such a look needs; the facts
    of an ONNX file alone leave out the fields that have their default. One with "starter" only asks what a starter
    recipe needs. `loaded` are the data where they are there already, and the seconds that loading them took.
    Raises what the steps themselves raise.
    """
    steps = {name: json.dumps(params) for name, params in request["steps"].items()}
    seed = int(request.get("seed", 0))
    if "starter" in steps:
        from titrant.runtime.inspect.starter import describe_starter

        return {"model": {}, "data": None, "starter": describe_starter(request["steps"]["starter"]), "dependencies": []}
    if "data.load" not in steps:
        if "model.load_onnx" in steps:
            return onnx_alone(request)[0]
        model = describe_model(steps, None, "unlabeled", seed)
        dependencies = _dependencies(request["steps"])
        return {"model": plain(model), "data": None, "dependencies": dependencies, "parts": []}
    return _with_data(request, steps, seed, loaded)


def _with_data(
    request: Mapping[str, Any], steps: Mapping[str, str], seed: int, loaded: "tuple[Tables, float] | None"
) -> dict[str, Any]:
    """Look at data and model; what reads data is only loaded here, which takes as long as looking at a small model."""
    from titrant.runtime.inspect.data import describe_data, with_places
    from titrant.runtime.inspect.inputs import settled
    from titrant.runtime.operators.data.load import DataLoadParams
    from titrant.runtime.operators.data.split import DataSplitParams
    from titrant.runtime.operators.data.transform import DataTransformParams
    from titrant.runtime.operators.data.unlabeled import DataUnlabeledParams

    loading = DataLoadParams.model_validate_json(steps["data.load"])
    transforming = DataTransformParams.model_validate_json(steps["data.transform"])
    splitting = DataSplitParams.model_validate_json(steps["data.split"])
    read: list[Tables] = []

    def settle(params: DataTransformParams, tables: "Tables") -> DataTransformParams:
        read.append(tables)
        return settled(params, tables, steps, seed=seed)

    further = steps.get("data.unlabeled")
    unlabeling = None if further is None else DataUnlabeledParams.model_validate_json(further)
    data, _ = describe_data(
        loading, splitting, transforming, seed=seed, settle=settle, unlabeling=unlabeling, loaded=loaded
    )
    model = describe_model(steps, data, transforming.task, seed)
    others = {key: _other_of(key, params, data, seed) for key, params in request.get("others", {}).items()}
    data = with_places(data, transforming, read[0], _outputs(model, request.get("judged")))
    return {
        "model": plain(model),
        "data": plain(data),
        "dependencies": _dependencies({**request["steps"], **request.get("others", {})}),
        "parts": _parts(request["steps"]),
        **({"others": others} if others else {}),
    }


def onnx_alone(request: Mapping[str, Any]) -> tuple[dict[str, Any], "OnnxReading"]:
    """Answer about an ONNX file alone, and return what was read of it: a file is read once."""
    from titrant.runtime.inspect.onnx import read_onnx

    gc.freeze()  # what is imported by now is no garbage: looking for some in it takes longer than counting layers
    steps = request["steps"]
    params = ModelLoadOnnxParams.model_validate_json(json.dumps(steps["model.load_onnx"]))
    reading = read_onnx(params, None, first_look=bool(request.get("first_look")))
    answer = {
        "model": without_defaults(reading.facts),
        "data": None,
        "dependencies": _dependencies(steps),
        "parts": _beside(Path(params.onnx.path), reading.parts),
    }
    return answer, reading


def describe_model(steps: Mapping[str, str], data: DataFacts | None, task: str, seed: int) -> ModelFacts:
    """Describe the model that one of `steps` loads, {operator: its parameters as JSON}; StepError where it cannot be.

    Without `data` its inputs are those that the parameters, or the file itself, name.
    """
    if "model.load_onnx" in steps:
        from titrant.runtime.inspect.onnx import describe_onnx

        return describe_onnx(ModelLoadOnnxParams.model_validate_json(steps["model.load_onnx"]), data)
    if "model.load_exported" in steps:
        from titrant.runtime.inspect.torch_files import describe_exported

        exported = ModelLoadExportedParams.model_validate_json(steps["model.load_exported"])
        return describe_exported(exported, data, task)
    if "model.load_torchscript" in steps:
        from titrant.runtime.inspect.torch_files import describe_script

        script = ModelLoadTorchscriptParams.model_validate_json(steps["model.load_torchscript"])
        return describe_script(script, data, task)
    for kind in backend.kinds().values():
        if kind.loader is not None and kind.loader.operator in steps:
            params = json.loads(steps[kind.loader.operator])
            return _kept_module(kind, params) if kind.loader.facts is None else kind.loader.facts(params)
    from titrant.runtime.inspect.torch import describe_torch

    return describe_torch(ModelLoadParams.model_validate_json(steps["model.load"]), data, task, seed=seed)


def _kept_module(kind: ModelKind, params: Mapping[str, Any]) -> ModelFacts:
    """Look at the module that a file describes itself."""
    from titrant.runtime.inspect.torch import describe_live

    (file,) = (Path(given["path"]) for given in params.values())
    kept = kind.load(file)
    specs = [TensorSpec(name, shape, dtype) for name, shape, dtype in kept.inputs]
    digest = "+".join(given["digest"] for given in params.values())
    facts = describe_live(kept.module, specs)
    named = zip(facts.outputs, kept.outputs, strict=False)
    return replace(facts, digest=digest, outputs=tuple(replace(spec, name=name) for spec, name in named))


def _other_of(key: str, params: Mapping[str, Any], data: DataFacts, seed: int) -> dict[str, Any]:
    """Look at a model beside the original; what is wrong with it is of its own keys, not of the original's."""
    place = f"reduction.distillation.{key}"
    try:
        return _other(params, data, seed)
    except (RecipeError, StepError) as error:
        named = (
            replace(said, key=f"{place}.weights" if said.key == "model.weights" else place)
            for said in error.diagnostics
        )
        kind = RecipeError if isinstance(error, RecipeError) else StepError
        raise kind(*named) from None


def _other(params: Mapping[str, Any], data: DataFacts, seed: int) -> dict[str, Any]:
    """Look at a model beside the original, which takes the same rows."""
    from titrant.runtime.inspect.torch import describe_torch, resolve_args

    loading = ModelLoadParams.model_validate_json(json.dumps(params))
    facts = describe_torch(loading, data, "unlabeled", seed=seed)
    return {"facts": plain(facts), "args": resolve_args(loading.args, data)}


def _outputs(model: ModelFacts, judged: str | None) -> int:
    """Return how many numbers a case the judged output has; 0 where that is not known, or is no list of numbers."""
    output = next((spec for spec in model.outputs if judged in (None, spec.name)), None)
    width = output.shape[1] if output is not None and len(output.shape) == 2 else 0
    return width if isinstance(width, int) else 0


def _dependencies(steps: Mapping[str, Any]) -> list[dict[str, str]]:
    from blake3 import blake3

    digests: dict[str, str] = {}
    sources = [
        *steps.get("data.load", {}).get("sources", {}).values(),
        steps.get("data.unlabeled", {}).get("source", {}),
    ]
    loads = [params.get("factory") for name, params in steps.items() if name in ("model.load", "student", "teacher")]
    for each in (kind.loader for kind in backend.kinds().values()):
        if each is not None and each.code is not None and each.operator in steps:
            codes = (each.code(Path(given["path"])) for given in steps[each.operator].values())
            loads += [code.factory for code in codes if code is not None]
    for factory in [*loads, *(source.get("factory") for source in sources)]:
        for path in source_files(factory).values() if factory else ():
            digests[str(path.resolve())] = blake3(path.read_bytes()).hexdigest()
    for _, file in files_in(steps):
        if not Path(file["path"]).is_dir() and not file["digest"].startswith(BY_HEADER):
            digests[file["path"]] = file["digest"]
    return [{"path": path, "digest": digests[path]} for path in sorted(digests)]


def _parts(steps: Mapping[str, Any]) -> list[str]:
    if "model.load_onnx" not in steps:
        return []
    from titrant.runtime.inspect.onnx import outside_files

    file = Path(steps["model.load_onnx"]["onnx"]["path"])
    return _beside(file, outside_files(str(file)))


def _beside(file: Path, parts: Iterable[Path]) -> list[str]:
    return [path.relative_to(file.parent).as_posix() for path in parts]
