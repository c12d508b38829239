"""Profile a model in an engine on one batch, and set what is counted of its layers beside what they take."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends import backend
from titrant.runtime.backends.profile import EngineProfile, TimedLayer
from titrant.runtime.instruments.layers.count import PartCount, count_parts
from titrant.runtime.instruments.layers.figures import LayerProfile
from titrant.runtime.instruments.layers.layer import LayerFigures, block_of

if TYPE_CHECKING:
    import numpy as np

_LISTED = 3


def profile_layers(
    model: Any,
    inputs: "Mapping[str, np.ndarray]",
    *,
    engine: str,
    title: str = "model",
    threads: int = 1,
    device: str = "cpu",
    layers: Collection[str] = (),
    seconds: float = 1.0,
    kinds: Mapping[str, str] | None = None,
) -> LayerProfile:
    """Return what each layer of a model takes in an engine for one batch, its FLOPs, parameters, bytes and precision.

    `model` is a value of a kind that the engine runs, `inputs` name → (batch, …). `layers` are the names of the
    original's layers, for a file that was made of another model, and `kinds` what they are; without them a file's are
    its own nodes. `seconds` is how long it is timed, about. Raises StepError X680 for an engine that tells nothing of
    its layers, X212 for a file that it cannot load, X221 for a batch that it cannot answer.
    """
    parts = count_parts(model, inputs)
    timed = backend.get(engine).profiled(
        model, inputs, threads=threads, device=device, layers=layers or tuple(parts), seconds=seconds
    )
    by_cpu = device == "cpu" and threads == 1
    return LayerProfile(
        model=title,
        engine=engine,
        device=device,
        threads=threads,
        batch=max((len(array) for array in inputs.values() if array.ndim), default=1),
        layers=tuple(_figures(timed, parts, kinds or {}, by_cpu=by_cpu)),
        seconds=timed.seconds,
        cpu_seconds=timed.cpu_seconds,
        overhead_seconds=timed.overhead_seconds,
        runs=timed.runs,
        spans=timed.spans,
        told_when=timed.told_when,
        notes=(*timed.notes, *_notes(parts)),
    )


def _figures(
    timed: EngineProfile, parts: Mapping[str, PartCount], kinds: Mapping[str, str], *, by_cpu: bool
) -> Iterator[LayerFigures]:
    """Yield the layers, and as the last row all that is none: other operations, and what lies between them."""
    rest = [layer for layer in timed.layers if not layer.name]
    claimed = {part for layer in timed.layers if layer.name for part in layer.parts}
    between = timed.between_seconds
    all_tell = all(layer.cpu_seconds is not None for layer in timed.layers)
    other = TimedLayer(
        name="",
        kind="",
        engine_op=", ".join(layer.engine_op for layer in rest if layer.engine_op),
        precision="",
        seconds=sum(layer.seconds for layer in rest) + between,
        cpu_seconds=sum(layer.cpu_seconds or 0.0 for layer in rest) + between if all_tell else None,
        calls=sum(layer.calls for layer in rest),
        parts=tuple(part for part in parts if part not in claimed),
    )
    every = [*(layer for layer in timed.layers if layer.name), other]
    times = [layer.cpu_seconds if by_cpu and all_tell else layer.seconds for layer in every]
    total = sum(time or 0.0 for time in times) or 1.0
    for layer, time in zip(every, times, strict=True):
        counts = [parts[part] for part in dict.fromkeys(layer.parts) if part in parts]
        flops = [count.flops for count in counts]
        size = sum(count.parameter_bytes for count in counts)
        knows_bytes = layer.read_bytes is not None and layer.answer_bytes is not None
        yield LayerFigures(
            name=layer.name,
            kind=kinds.get(layer.name, layer.kind) if layer.name else "",
            block=block_of(layer.name),
            seconds=layer.seconds,
            cpu_seconds=layer.cpu_seconds if by_cpu and all_tell else None,
            share=(time or 0.0) / total,
            calls=layer.calls,
            parameters=sum(count.parameters for count in counts),
            parameter_bytes=size,
            activation_bytes=layer.answer_bytes,
            moved_bytes=(layer.read_bytes or 0) + (layer.answer_bytes or 0) + size if knows_bytes else None,
            flops=None if None in flops else sum(number or 0 for number in flops),
            precision=layer.precision,
            engine_op=layer.engine_op,
            joined=layer.joined,
        )


def _notes(parts: Mapping[str, PartCount]) -> Iterator[str]:
    unknown = [name or "the model itself" for name, count in parts.items() if count.flops is None]
    if unknown:
        listed = ", ".join(unknown[:_LISTED])
        more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
        yield f"FLOPs are not known of {listed}{more}: titrant has no count of an operation in it"
