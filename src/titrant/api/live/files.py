"""Take the file of a model, or a graph that somebody holds in memory, as a value for operators; say what is in one."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.compiler.bind.check_files import ENDINGS
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.runtime.instruments.refused.files import no_file
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import ModelFacts, TensorSpec
from titrant.schema.values.canonical import canonical_json
from titrant.schema.values.files import digest_file

if TYPE_CHECKING:
    import numpy as np

# What titrant writes into an archive of torch's: what the file takes and gives.
_OWN = "extra/titrant.json"
# What is in every package that was compiled for a processor, beside the program that it was made of.
_COMPILED = "data/aotinductor/"
# Objects that are a whole graph, by module and name of their class, and the ending of the file that each becomes.
_GRAPHS = {
    ("onnx.onnx_ml_pb2", "ModelProto"): ".onnx",
    ("torch.export.exported_program", "ExportedProgram"): ".pt2",
    ("torch.jit._script", "ScriptModule"): ".pt",
}


def is_graph(value: object) -> bool:
    """Tell an ONNX model, a torch.export program and a TorchScript module in memory from everything else."""
    return _ending(value) != ""


def _ending(value: object) -> str:
    names = ((kind.__module__, kind.__qualname__) for kind in type(value).__mro__)
    return next((_GRAPHS[name] for name in names if name in _GRAPHS), "")


def written_graph(value: Any, folder: Path) -> Path:
    """Write a graph that is held in memory to a file of a new folder, and return the file."""
    folder.mkdir(parents=True)
    path = folder / f"given{_ending(value)}"
    if path.suffix == ".pt2":
        import torch

        torch.export.save(value, path)
    elif path.suffix == ".pt":
        value.save(str(path))
    else:
        import onnx

        onnx.save(value, path)
    return path


def file_model(port: str, path: Path, shown: "Mapping[str, np.ndarray] | None", folder: Path) -> tuple[Any, str]:
    """Return the model of a file, and the operator that loaded it into a new `folder`, as a recipe's `model` would.

    One that titrant wrote, or of a kind that no operator loads, such as an OpenVINO IR, is taken as it is, by no
    operator (""). A TorchScript file of somebody else's does not say the shapes of its inputs: `shown` arrays do, by
    name. Raises RecipeError X702 for a file that is not there, X232 for one that holds no model, StepError for one
    that is damaged.
    """
    kind = _kind_of(path)
    if kind is None:
        if not path.is_file():
            raise no_file(path)
        message = f"{port}: {path.name} holds no model that can be loaded"
        raise RecipeError(Diagnostic("X232", message, help=f"a file of a model ends in {_endings()}"))
    if not kind.sources or own_text(path):
        return kind.load(path if kind.file else path.parent), ""
    operator, params = _loading(kind, path)
    if "inputs" in params:
        arrays = (shown or {}).items()
        params["inputs"] = [_spec(name, ("batch", *array.shape[1:]), str(array.dtype)) for name, array in arrays]
        facts = _described(operator, params)
        specs = {"inputs": facts.inputs, "outputs": facts.outputs}
        params |= {key: [_spec(spec.name, spec.shape, spec.dtype) for spec in taken] for key, taken in specs.items()}
    from titrant.runtime.api import apply

    folder.mkdir(parents=True)
    declaration = catalog.get(operator)
    loaded = apply(operator, {}, catalog.full_params(declaration.params, params), scratch=folder)
    return loaded.outputs["model"], operator


def facts_of(model: Any) -> ModelFacts | None:
    """Return what is known of a model, as a recipe's original is looked at; None of a kind that none has."""
    kind = backend.kinds()[model.kind]
    if kind.user_code:
        from titrant.runtime.inspect.torch import describe_live

        return describe_live(model.module, [TensorSpec(*spec) for spec in model.inputs])
    if not kind.sources:
        return None
    operator, params = _loading(kind, model.path)
    if "inputs" in params:
        params["inputs"] = [_spec(*spec) for spec in json.loads(own_text(model.path))["inputs"]]
    return _described(operator, params)


def own_text(path: Path) -> str:
    """Return what titrant wrote into an archive of torch's of what it takes and gives; "" for every other file."""
    if not zipfile.is_zipfile(path):
        return ""
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.partition("/")[2] == _OWN), None)
        return "" if name is None else archive.read(name).decode()


def _kind_of(path: Path) -> ModelKind | None:
    """Return the kind of model that a file holds, by its ending and, of two that share one, by what is in it."""
    if not path.is_file():
        return None
    named = [kind for kind in backend.kinds().values() if not kind.user_code and path.suffix.lower() in _suffixes(kind)]
    if len(named) < 2 or not zipfile.is_zipfile(path):
        return next(iter(named), None)
    with zipfile.ZipFile(path) as archive:
        compiled = any(_COMPILED in name for name in archive.namelist())
    return next((kind for kind in named if compiled != bool(kind.sources)), None)


def _suffixes(kind: ModelKind) -> tuple[str, ...]:
    """Return the endings of a kind's files: of several files that of the one that says what the others are."""
    stamped = Path(kind.stamp.file).suffix if kind.stamp is not None else ""
    own = tuple(suffix for suffix in (kind.suffix or stamped,) if suffix)
    return own if not kind.sources else ENDINGS[kind.sources[0]]


def _endings() -> str:
    every = [suffix for kind in backend.kinds().values() if not kind.user_code for suffix in _suffixes(kind)]
    return ", ".join(dict.fromkeys(every))


def _loading(kind: ModelKind, path: Path) -> tuple[str, dict[str, Any]]:
    """Return the operator that loads a file of this kind, and its parameters but for the inputs that it may take."""
    source = kind.sources[0]
    operator = f"model.load_{source}"
    params: dict[str, Any] = {source: {"path": str(path.absolute()), "digest": digest_file(path)}}
    return operator, params | ({"inputs": []} if "inputs" in catalog.get(operator).params.model_fields else {})


def _described(operator: str, params: Mapping[str, Any]) -> ModelFacts:
    from titrant.runtime.inspect.inspect import describe_model

    return describe_model({operator: canonical_json(dict(params))}, None, "unlabeled", 0)


def _spec(name: str, shape: Any, dtype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "dtype": dtype}
