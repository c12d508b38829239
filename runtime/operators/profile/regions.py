"""Measure what each region of a model takes in float and in int8, and what it takes to convert numbers between them."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import forward_seconds, speed_of
from titrant.runtime.operators.quantize import ort_static
from titrant.runtime.operators.sensitivity.regions import regions_of
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.backends.onnxruntime.titration.regions import Region
    from titrant.runtime.mixture.allocation import Priced
    from titrant.runtime.mixture.pricing import ProfiledMix
    from titrant.runtime.values import OnnxModel, Rows

# Files that are made, timed and profiled: in float, in int8, and two mixtures.
_FILES = 4
# Writing and opening one of them, and reading its profile, for each layer; what is profiled beside the timing.
_LAYER_SECONDS, _PROFILED = 0.03, 0.2
_BYTES, _REGION_BYTES = 700, 220
_FLOAT, _INT8 = "fp32", "int8"


class RegionPricesParams(Params):
    """How the model is quantized, and what is timed how long."""

    options: ort_static.OrtStaticParams = Field(
        default_factory=ort_static.OrtStaticParams, description="how the model is quantized, as for quantize.ort_static"
    )
    layers: tuple[str, ...] = Field(strict=False, description="the original's layers that the method quantizes")
    batch: int = Field(1, ge=1, description="rows of a batch, as it is judged")
    threads: int = Field(1, ge=1, description="threads of the engine")
    seconds: float = Field(1.5, gt=0, description="time for timing the files, shared by them; 15 rounds come first")


def requires(params: RegionPricesParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need what quantizing needs."""
    return ort_static.requires(params.options, hardware, model)


def predict(
    params: RegionPricesParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Add to quantizing once what writing, timing and profiling four files takes."""
    once = ort_static.predict(params.options, hardware, model, work)
    if model is None or once.seconds is None:
        return once
    forward = forward_seconds(model, speed_of(hardware, params.threads), run_cost("onnxruntime", "onnx"), params.batch)
    timed = max(params.seconds, _FILES * 15 * 2 * forward) + _FILES * max(_PROFILED, 20 * forward)
    seconds = once.seconds + timed + _FILES * _LAYER_SECONDS * len(model.layers)
    size = _BYTES + _REGION_BYTES * regions_of(len(params.layers))
    return replace(once, seconds=seconds, output_bytes=size)


@operator(
    "profile.regions",
    version=1,
    family="profile",
    params=RegionPricesParams,
    inputs={"model": "onnx", "calibration": "rows"},
    outputs={"prices": "value"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=(
        "onnx",
        "onnxruntime",
        "onnxruntime.quantization",
        "titrant.runtime.backends.onnxruntime.titration.mixture",
        "titrant.runtime.backends.onnxruntime.titration.times",
    ),
    libraries=("onnx", "onnxruntime", "numpy"),
)
def profile_regions(params: RegionPricesParams, context: Context, *, model: Any, calibration: Any) -> dict[str, Any]:
    """Price every region in float and in int8, and every tensor that is converted where neighbours differ.

    Helps when: layers are to be left in float, and it is to be known beforehand which mixture is faster than the ends:
                most are slower. A figure holds for this machine, batch size and number of threads.
    Inputs:     model - an fp32 ONNX file; calibration - rows whose arrays the file takes by name, repeated where they
                are fewer than a batch
    Outputs:    prices - {"batch", "regions": [{"name", "layers", "fp32", "int8": seconds of a batch}], "edges":
                [{"from": a region, "to": those that read one of its tensors, "quantize", "dequantize": seconds of
                converting it once}], "rest": seconds that no precision changes, "fp32", "int8": seconds of the whole
                network, "mixes": [{"int8": names, "seconds": measured}], "predicted": whether other mixtures may be
                priced by these, "refused": mixtures that the engine does not run, each as the names in int8}. A network
                that answers in less than 100 µs is not predicted: `mixes` are then all it has, or 16
    Fails:      PreconditionError X257 where none of the layers can be in int8; as quantize.ort_static does
    Cost:       the ranges once, four graphs, `seconds` of timing, and a profile of each
    """
    from titrant.runtime.mixture.pricing import SHORTEST

    bench = _Bench(params, model, calibration, context)
    priced, profiled = bench.priced()
    predicted = profiled[_FLOAT].seconds >= SHORTEST
    mixes = [mix for name, mix in profiled.items() if name not in (_FLOAT, _INT8)]
    timed = {mix.int8: mix.seconds for mix in mixes} if predicted else bench.timed(priced)
    context.measure("regions", len(bench.parts))
    context.measure("fp32", profiled[_FLOAT].seconds, "s")
    context.measure("int8", profiled[_INT8].seconds, "s")
    refused = [[name for name in priced.names if name in mix] for mix in bench.refused]
    figures = described(priced, bench.parts, profiled, timed)
    return {"prices": {"batch": params.batch, **figures, "predicted": predicted, "refused": refused}}


class _Bench:
    """Makes mixtures of one model and times them; `refused` are those that the engine did not run."""

    def __init__(
        self,
        params: RegionPricesParams,
        model: "OnnxModel",
        rows: "Rows",
        context: Context,
    ) -> None:
        from titrant.runtime.backends.onnxruntime.titration.mixture import Mixtures
        from titrant.runtime.backends.onnxruntime.titration.regions import regions
        from titrant.runtime.backends.session import first_batch, open_session

        self._params, self._model, self._context = params, model, context
        self._mixtures = Mixtures(model, rows, ort_static.int8(params.options), context)
        layers = [layer for layer in params.layers if layer not in params.options.leave]
        self.parts = regions(self._mixtures.graph, layers)
        if not self.parts:
            raise PreconditionError(
                Diagnostic(
                    "X257",
                    f"none of {len(layers)} layers is computed by a node with int8 kernels",
                    help="leave out search.mix_layers, or quantization.skip",
                )
            )
        self._names = tuple(region.name for region in self.parts)
        with open_session("onnxruntime", model, threads=1) as session:
            self._batch = first_batch(session, rows, params.batch)
        self.refused: list[frozenset[str]] = []

    def priced(self) -> "tuple[Priced, dict[str, ProfiledMix]]":
        """Return the prices, and what the files took that they are made of."""
        from titrant.runtime.backends.onnxruntime.titration.times import border_tensors, region_seconds
        from titrant.runtime.mixture.pricing import ProfiledMix, alternating, price

        asked = {_FLOAT: frozenset[str](), _INT8: frozenset(self._names)}
        asked |= {f"mix{place}": mix for place, mix in enumerate(alternating(self._names))}
        files = self._files(asked)
        seconds = self._seconds(files)
        profiled = {}
        for place, (name, file) in enumerate(files.items()):
            self._context.progress(place, len(files), "profiling")
            by_region = region_seconds(
                file,
                self.parts,
                self._batch,
                threads=self._params.threads,
                once=seconds[name],
                seconds=_PROFILED,
            )
            profiled[name] = ProfiledMix(asked[name], seconds[name], by_region)
        mixes = [mix for name, mix in profiled.items() if name not in (_FLOAT, _INT8)]
        tensors = border_tensors(self._mixtures.graph, self.parts)
        return price(self._names, tensors, profiled[_FLOAT], profiled[_INT8], mixes), profiled

    def timed(self, priced: "Priced") -> dict[frozenset[str], float]:
        """Time all mixtures, or the most promising ones."""
        from titrant.runtime.mixture.pricing import promising

        asked = {f"mix{place}": mix for place, mix in enumerate(promising(priced))}
        asked |= {_FLOAT: frozenset(), _INT8: frozenset(self._names)}
        seconds = self._seconds(self._files(asked))
        return {asked[name]: took for name, took in seconds.items()}

    def _files(self, asked: "Mapping[str, frozenset[str]]") -> "dict[str, OnnxModel]":
        """Write mixtures by name, each the regions in int8; without those that the engine does not take."""
        files = {}
        for name, mix in asked.items():
            left = [layer for region in self.parts if region.name not in mix for layer in region.layers]
            try:
                made = (
                    self._mixtures.file((*left, *self._params.options.leave), f"{name}.onnx")[0] if mix else self._model
                )
            except StepError:
                if name == _INT8:
                    raise
                self.refused.append(mix)
            else:
                files[name] = made
        return files

    def _seconds(self, files: "Mapping[str, OnnxModel]") -> dict[str, float]:
        from titrant.runtime.backends.onnxruntime.titration.times import seconds_in_turns
        from titrant.runtime.backends.session import open_session

        with ExitStack() as stack:
            sessions = {
                name: stack.enter_context(open_session("onnxruntime", file, threads=self._params.threads))
                for name, file in files.items()
            }
            return seconds_in_turns(
                sessions,
                self._batch,
                threads=self._params.threads,
                seconds=self._params.seconds,
                generator=self._context.generator,
            )


def described(
    priced: "Priced",
    parts: "Sequence[Region]",
    profiled: "Mapping[str, ProfiledMix]",
    timed: Mapping[frozenset[str], float],
) -> dict[str, Any]:
    """Return prices as values, but for what was refused and whether they predict."""
    layers = {region.name: list(region.layers) for region in parts}
    return {
        "regions": [
            {"name": region.name, "layers": layers[region.name], "fp32": region.fp32, "int8": region.int8}
            for region in priced.regions
        ],
        "edges": [
            {
                "from": conversion.producer,
                "to": list(conversion.consumers),
                "quantize": conversion.quantize,
                "dequantize": conversion.dequantize,
            }
            for conversion in priced.conversions
        ],
        "rest": priced.rest,
        "fp32": profiled[_FLOAT].seconds,
        "int8": profiled[_INT8].seconds,
        "mixes": [
            {"int8": [name for name in priced.names if name in mix], "seconds": seconds}
            for mix, seconds in timed.items()
        ],
    }
