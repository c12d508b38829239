"""Compare two models layer by layer: what changed, how far weights and answers are apart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from titrant.runtime.instruments.comparison.answers import KeptAnswers, kept_answers
from titrant.runtime.instruments.comparison.difference import LayerDifference, ModelComparison, OutputDifference
from titrant.runtime.instruments.comparison.match import WeightedLayers, matched
from titrant.runtime.instruments.comparison.weights import weight_difference
from titrant.runtime.instruments.health.answers import rows_of
from titrant.runtime.instruments.health.figures import decibels
from titrant.runtime.instruments.subject.subject import Subject
from titrant.runtime.instruments.weights.layer_tensor import LayerTensor, short_format
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError

if TYPE_CHECKING:
    from titrant.runtime.instruments.calls.overhear import Inputs

_FEW_BITS = "MatMulNBits"
# Rounding of float32, as of a normalization that was folded in.
_EQUAL_DB = 90.0
# Fused or not makes more of a difference than this.
_ABOUT_DB = 10.0


def compare(first: Subject, second: Subject, inputs: "Inputs | None" = None) -> ModelComparison:
    """Hold each layer of the first model against what became of it in the second, and their outputs on `inputs`.

    Raises RecipeError X686 where no layer of one is found in the other, X682 and StepError X683 where one of them
    cannot answer the inputs.
    """
    ours, theirs = WeightedLayers.of(first), WeightedLayers.of(second)
    pairs = matched(ours, theirs)
    if not pairs:
        message = f"{first.name} and {second.name} have no layer in common: none of the one's is found in the other"
        advice = "give two models of one origin: layers are known by their names, through export and quantization"
        raise RecipeError(Diagnostic("X686", message, help=advice))
    notes, answers = [], None
    if inputs is not None and not (first.runs and second.runs):
        still = first if not first.runs else second
        notes.append(f"{still.name} holds weights and no model: answers are not compared")
    elif inputs is not None:
        answers = kept_answers(ours, inputs), kept_answers(theirs, inputs)
    layers = tuple(_layers(ours, theirs, pairs, answers))
    outputs = () if answers is None else tuple(_outputs(answers[0].outputs, answers[1].outputs, notes))
    rows = max(rows_of(inputs), default=0) if answers is not None else 0
    return ModelComparison(first.name, second.name, layers, outputs, rows, tuple(notes))


def _layers(
    ours: WeightedLayers,
    theirs: WeightedLayers,
    pairs: Mapping[str, tuple[str, ...]],
    answers: tuple[KeptAnswers, KeptAnswers] | None,
) -> Iterator[LayerDifference]:
    for name, tensor in ours.tensors.items():
        others = [theirs.tensors[other] for other in pairs.get(name, ())]
        if not others:
            yield LayerDifference(name, "", "removed", tensor.shape, (), precision(tensor), "")
            continue
        yield _layer(name, tensor, pairs[name], others, answers)
    taken = {other for others in pairs.values() for other in others}
    for name, tensor in theirs.tensors.items():
        if name not in taken:
            yield LayerDifference("", name, "added", (), tensor.shape, "", precision(tensor))


def _layer(
    name: str,
    tensor: LayerTensor,
    names: Sequence[str],
    others: Sequence[LayerTensor],
    answers: tuple[KeptAnswers, KeptAnswers] | None,
) -> LayerDifference:
    held = weight_difference(tensor, others)
    answered = (
        None
        if answers is None or len(names) > 1
        else _closest(answers[0].layers.get(name, []), answers[1].layers.get(names[0], []))
    )
    formats = precision(tensor), precision(others[0])
    alike = held is not None and held[0] > _EQUAL_DB and formats[0] == formats[1]
    return LayerDifference(
        name,
        ", ".join(names),
        "same" if alike else "changed",
        tensor.shape,
        others[0].shape,
        *formats,
        None if held is None else held[0],
        held is not None and held[1],
        None if answered is None else answered[0],
        "" if answered is None else answered[1],
    )


def _closest(
    ours: Sequence[tuple[str, np.ndarray]], theirs: Sequence[tuple[str, np.ndarray]]
) -> tuple[float, str] | None:
    """Return decibels at the place behind the layer where both agree best, and the operation there.

    What is folded or fused into a layer of the second model stands behind it in the first. Of places that agree about
    as well the earliest counts: sums and means behind a layer hide what it lost.
    """
    places = [
        (decibels(_power(left), _power(left - right)), operation)
        for operation, left in ours
        for _, right in theirs
        if left.shape == right.shape and np.isfinite(left).all() and np.isfinite(right).all()
    ]
    best = max((figure for figure, _ in places), default=0.0)
    return next((place for place in places if place[0] > best - _ABOUT_DB), None)


def _power(values: np.ndarray) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _outputs(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], notes: list[str]
) -> Iterator[OutputDifference]:
    """Compare outputs of one name; by their place where the names are other ones."""
    named = [(name, name) for name in ours if name in theirs]
    pairs = named or list(zip(ours, theirs, strict=False))
    for mine, its in pairs:
        left, right = ours[mine], theirs[its]
        if left.shape != right.shape or left.dtype.kind not in "fiu" or right.dtype.kind not in "fiu":
            notes.append(f"output {mine} has shape {left.shape} in the one, {right.shape} in the other: not compared")
            continue
        left, right = left.astype(np.float64), right.astype(np.float64)
        broken = [int(values.size - np.isfinite(values).sum()) for values in (left, right)]
        if any(broken):
            notes.append(
                f"output {mine} is not compared: {broken[0]:,} of its numbers in the one and {broken[1]:,} in the other "
                "are not finite"
            )
            continue
        apart = np.abs(left - right)
        several = left.ndim > 1 and left.shape[-1] > 1
        alike = float((left.argmax(-1) == right.argmax(-1)).mean()) if several else None
        yield OutputDifference(
            mine if mine in theirs or not its else its,
            decibels(_power(left), _power(left - right)),
            float(apart.max(initial=0.0)),
            float(apart.max(initial=0.0) / max(float(np.abs(left).max(initial=0.0)), 1e-30)),
            alike,
        )
    if len(ours) != len(theirs):
        notes.append(f"the one has {len(ours)} outputs, the other {len(theirs)}")


def precision(tensor: LayerTensor) -> str:
    """Return how a weight is stored: fp32, fp16, bf16, int8, int4 …"""
    if tensor.kind == _FEW_BITS:
        return "int4"
    return short_format(tensor.stored)
