"""Find out what an ONNX file says of itself: its classes, kinds of outputs, pixels, and weights that are NaN."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.inspect.graph.constants import constants
from titrant.runtime.inspect.graph.inputs import graph_inputs, nan_weights, refuse_text, specs_of
from titrant.runtime.inspect.graph.parameters import count_parameters
from titrant.runtime.operators.model.load_onnx import read_onnx
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.files import json_object

if TYPE_CHECKING:
    import onnx

# The operators that a class is decided from → what their numbers are. Those of ai.onnx.ml answer (label, scores).
_KINDS = {"Softmax": "probabilities", "Sigmoid": "probabilities", "LogSoftmax": "log_probabilities"}
_CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier")
# What they make of their scores at the end → what those are then.
_AFTER = {b"LOGISTIC": "probabilities", b"SOFTMAX": "probabilities", b"SOFTMAX_ZERO": "probabilities"}
# What a file prepares its own columns with: a fitted pipeline stands in it.
_PREPARING = ("Scaler", "Imputer", "OneHotEncoder", "LabelEncoder", "CategoryMapper", "Normalizer", "DictVectorizer")
# What changes the form of an answer and not what it is.
_MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast", "Slice", "ZipMap")
# `Image.NominalPixelRange` of Windows ML → how pixels in 0..1 get there.
_RANGES: Mapping[str, Mapping[str, Any]] = {
    "NominalRange_0_255": {"mean": 0, "std": 1, "scale": 255},
    "Normalized_0_1": {"mean": 0, "std": 1},
    "Normalized_1_1": {"mean": 0.5, "std": 0.5},
}
_RANGE_KEY = "Image.NominalPixelRange"
# What Hugging Face's image processors write beside a model.
PREPROCESSOR = "preprocessor_config.json"
_CONFIG = "config.json"
_BILINEAR = 2  # as Pillow counts filters
_TO_FRACTIONS, _ROUNDING = 1 / 255, 1e-3
# What is done to pixels besides, unless a processor says otherwise.
_STEPS = {"do_normalize": True, "do_rescale": True, "rescale_offset": False, "do_flip_channel_order": False}


def describe_hints(path: str) -> dict[str, Any]:
    """Say what a file tells: {"classes", "kinds", "prepares", "pixels"}.

    `classes` are the labels in the order of the outputs, or None; `kinds` map an output to what its numbers are, where
    the node that gives it says so; `prepares` is whether it holds a fitted preparation of its columns; `pixels` are
    {"normalize": {mean, std, scale}, "height", "width", "from"} as the file, or the one beside it, states them, or
    None. Raises RecipeError P081 for weights that hold NaN, PreconditionError X162 for inputs of text, StepError as
    reading the file does.
    """
    model, _ = read_onnx(path)
    _refuse_nan(model, Path(path).name)
    refuse_text(specs_of(model, graph_inputs(model)), Path(path).name)
    nodes = list(model.graph.node)
    return {
        "classes": _classes(model) or _listed_classes(Path(path)),
        "kinds": dict(_kinds(model)),
        "prepares": any(node.domain == "ai.onnx.ml" and node.op_type in _PREPARING for node in nodes),
        "pixels": _stated_pixels(model, Path(path)) or _pixels_beside(Path(path).parent),
    }


def _refuse_nan(model: "onnx.ModelProto", name: str) -> None:
    for note in nan_weights(model.graph, count_parameters(model.graph, constants(model.graph))):
        advice = "export it from a checkpoint that trained well"
        raise RecipeError(Diagnostic("P081", f"{name}: {note}", help=advice))


def _classes(model: "onnx.ModelProto") -> list[Any] | None:
    """Return the labels that a classifier of ai.onnx.ml, or the node that names its answers, holds in their order."""
    for node in model.graph.node:
        if node.domain != "ai.onnx.ml" or node.op_type not in (*_CLASSIFIERS, "ZipMap"):
            continue
        for item in node.attribute:
            if item.name.startswith("classlabels") and (item.strings or item.ints):
                return [text.decode("utf-8", "replace") for text in item.strings] or list(item.ints)
    return None


def _listed_classes(path: Path) -> list[Any] | None:
    """Return the labels of `id2label` in the config.json beside a file, where it numbers them from 0."""
    labels = (json_object(path.parent / _CONFIG) or {}).get("id2label")
    if not isinstance(labels, dict):
        return None
    named = [labels.get(str(place)) for place in range(len(labels))]
    return named if named and all(isinstance(name, str) for name in named) else None


def _kinds(model: "onnx.ModelProto") -> Iterator[tuple[str, str]]:
    producers = {name: node for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        node, name = producers.get(value.name), value.name
        while node is not None and node.op_type in _MOVES and node.input:
            name = node.input[0]
            node = producers.get(name)
        if node is None:
            continue
        if node.op_type in _KINDS:
            yield value.name, _KINDS[node.op_type]
        elif node.domain == "ai.onnx.ml" and node.op_type == "Normalizer":
            yield value.name, "probabilities"
        elif node.domain == "ai.onnx.ml" and _score_kind(node, name):
            yield value.name, _score_kind(node, name)


def _score_kind(node: "onnx.NodeProto", name: str) -> str:
    """Say what a classifier's scores are, which stand beside the class that it chose; "" where it does not say."""
    if node.op_type not in _CLASSIFIERS or name != node.output[1]:
        return ""
    after = next((item.s for item in node.attribute if item.name == "post_transform"), b"NONE")
    if node.op_type == "TreeEnsembleClassifier":  # votes of a forest
        return "logits" if _adds_margins(node) else "probabilities"
    return _AFTER.get(after, "")


def _adds_margins(node: "onnx.NodeProto") -> bool:
    """Whether trees add up what boosting learned, and nothing makes probabilities of it: votes are never negative."""
    settings = {item.name: item for item in node.attribute}
    after = settings.get("post_transform")
    weights = settings.get("class_weights")
    plain = after is None or after.s == b"NONE"
    return node.op_type == "TreeEnsembleClassifier" and plain and weights is not None and min(weights.floats) < 0


def _stated_pixels(model: "onnx.ModelProto", path: Path) -> dict[str, Any] | None:
    stated = {item.key: item.value for item in model.metadata_props}
    normalize = _RANGES.get(stated.get(_RANGE_KEY, ""))
    return None if normalize is None else {"normalize": dict(normalize), "from": f"{_RANGE_KEY} in {path.name}"}


def _pixels_beside(folder: Path) -> dict[str, Any] | None:
    """Read mean, deviation and size from the preprocessor_config.json beside a model; None where it has none."""
    stated = json_object(folder / PREPROCESSOR) or {}
    mean, std = stated.get("image_mean"), stated.get("image_std")
    if not (_are_numbers(mean) and _are_numbers(std)) or not _is_plain(stated):
        return None
    assert isinstance(mean, list)
    assert isinstance(std, list)
    size = stated.get("size")
    size = {"height": size, "width": size} if isinstance(size, int) else size if isinstance(size, dict) else {}
    # Cropping, and another filter than the one of `resize`, give other pixels: its size is then a question.
    ours = (
        stated.get("do_resize", True)
        and not stated.get("do_center_crop")
        and stated.get("resample", _BILINEAR) == _BILINEAR
    )
    sizes = {key: size[key] for key in ("height", "width") if ours and isinstance(size.get(key), int)}
    return {"normalize": {"mean": mean, "std": std}, **sizes, "from": PREPROCESSOR}


def _is_plain(stated: Mapping[str, Any]) -> bool:
    """Whether mean and deviation are taken of pixels in 0..1, red first: other steps are a question."""
    factor = stated.get("rescale_factor", _TO_FRACTIONS)
    scaled = isinstance(factor, (int, float)) and abs(factor / _TO_FRACTIONS - 1) < _ROUNDING
    return scaled and all(stated.get(key, value) == value for key, value in _STEPS.items())


def _are_numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, (int, float)) and math.isfinite(item) for item in value)
    )
