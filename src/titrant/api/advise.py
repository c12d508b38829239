"""Measure a live module or a file, and say what would make it faster or smaller here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.instruments.advice import (
    BATCHES,
    ITERATIONS,
    MeasuredAdvice,
    MeasuredFacts,
    MeasuredModel,
    advice_from,
    advice_text,
)
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import torch

    from titrant.api.live.model_inputs import ModelInputs
    from titrant.compiler.predict.suitability import Suitability
    from titrant.runtime.instruments.layers.figures import LayerProfile
    from titrant.runtime.instruments.measure.figures import ModelTimes
    from titrant.schema.facts import Hardware

# At level auto a small model is not quantized, and that is what is asked about.
LEVEL = "balanced"


@dataclass(frozen=True)
class Advised:
    """What was measured of a model, and what it speaks for; printed it is the advice as text."""

    advice: tuple[MeasuredAdvice, ...]
    profile: "LayerProfile"
    times: "ModelTimes"

    def __str__(self) -> str:
        return advice_text(self.advice)


def advise(
    model: "torch.nn.Module | str | Path",
    inputs: "ModelInputs",
    *,
    engine: str | None = None,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    iterations: int = ITERATIONS,
    hardware: "Hardware | None" = None,
) -> Advised:
    """Time a model's layers and batches, and say which facts speak for which line of a recipe.

    `model` and `inputs` are as in `titrant.layers`; the layers are timed on the rows that are given, each of `batches`
    as often as `iterations` says. Which methods would quantize a layer on `hardware` (default: this machine) is asked
    of the planner, at level balanced. What waits for memory is said where `titrant hardware --bench` was run. Nothing
    is promised: a run measures and judges what the lines bring. Raises what `titrant.layers` and `titrant.measure`
    raise.
    """
    from titrant.api.layers import layers
    from titrant.runtime.instruments.measure.live import measure

    profile = layers(model, inputs, engine=engine, threads=threads)
    times = measure(model, inputs, batches=tuple(batches), iterations=iterations, threads=threads)
    return advised(MeasuredModel(profile, times), _suitability(model, inputs, hardware), hardware)


def advised(figures: MeasuredModel, suitability: "Suitability | None", hardware: "Hardware | None" = None) -> Advised:
    """Return what figures speak for on `hardware` (default: this machine); without suitability no method is named."""
    from titrant.compiler.decide.levels import LEVELS
    from titrant.compiler.machine.detect import detect
    from titrant.runtime.instruments.layers.roofline import machine_limits
    from titrant.runtime.store.home import open_home

    machine = hardware or detect(open_home().path)
    layers = () if suitability is None else suitability.layers
    methods = {layer.name: layer.methods for layer in layers}
    left = {layer.name: layer.warnings[0] for layer in layers if layer.warnings}
    measured_here = machine.bench is not None and machine.bench.measured
    limits = machine_limits(machine.bench, figures.profile.device) if measured_here else None
    bits = LEVELS[LEVEL if suitability is None else suitability.level].fewest_bits
    facts = MeasuredFacts(figures.profile, figures.times, methods, left, limits, fewest_bits=bits)
    return Advised(advice_from(facts), figures.profile, figures.times)


def _suitability(model: Any, inputs: Any, hardware: "Hardware | None") -> "Suitability":
    """Ask the planner what becomes of each layer."""
    from titrant.api.check_model import check_model
    from titrant.api.export import example_rows

    if isinstance(model, (str, Path)):
        return check_model(model, LEVEL, hardware=hardware)
    import torch

    rows = example_rows(model, inputs)
    return check_model(model, LEVEL, inputs=[torch.from_numpy(each[:1]) for each in rows.inputs.values()])
