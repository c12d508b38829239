"""Call plots and probes of the user's own with what a model answers."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends import backend
from titrant.runtime.catalog import ANY_MODEL, Context, Params, operator
from titrant.runtime.cost.forward import basis_of
from titrant.runtime.cost.sizes import missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.instruments.plots.own_plot import OwnPlot, PlotCases
    from titrant.runtime.values import Rows

# What a function of which nothing is known takes, and what it gives.
_SECONDS, _BYTES = 0.5, 60_000


class PlotsParams(Params):
    """Which functions are called, and how the model answers."""

    functions: tuple[str, ...] = Field(description="functions `module:name` that draw or count")
    engine: str = Field("torch", description="the engine that runs the model")
    threads: int = Field(1, ge=1, description="threads of the engine")
    device: str = Field("cpu", description="cpu, cuda, cuda:N, mps")
    batch: int = Field(64, ge=1, description="rows answered at once")
    rows: int = Field(512, ge=1, description="rows that the model answers, the first of the role")
    subject: str = Field("original", description="what the model is called: original, or the id of a candidate")


def requires(params: PlotsParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need the engine's package."""
    package = backend.get(params.engine).package
    return tuple(Unmet(f"the engine {unmet.cause}", unmet.remedy) for unmet in missing(hardware, package))


def predict(
    params: PlotsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the functions: what they do nobody knows."""
    count = len(params.functions)
    return Prediction(seconds=_SECONDS * count, output_bytes=_BYTES * count, basis=basis_of(hardware))


def loads(params: PlotsParams) -> tuple[str, ...]:
    """Load the engine."""
    return (backend.get(params.engine).module, "titrant.runtime.backends.session")


@operator(
    "inspect.plots",
    version=1,
    family="inspect",
    params=PlotsParams,
    inputs={"model": ANY_MODEL, "rows": "rows"},
    outputs={"seen": "value"},
    determinism="tolerance",
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("torch", "onnxruntime", "numpy", "matplotlib"),
    engines=("engine",),
    user_code=True,
)
def inspect_plots(params: PlotsParams, context: Context, *, model: Any, rows: "Rows") -> dict[str, Any]:
    """Call each function with what the model answers, and keep the picture or the numbers that it returns.

    Helps when: what decides is seen in a picture that only the user knows, or in a number that no gate is about.
    Inputs:     model - a module or file that the engine loads; rows - one role, of which the first are answered
    Outputs:    seen - {"plots": [{function, title, svg or png or numbers, width, height, failed}]}; an SVG without
                whatever runs or reads elsewhere, at most 1 MiB; numbers that are not finite are null
    Fails:      whatever answering the rows raises; a function that raises, or returns what cannot be shown, is one line
                and stops nothing
    Cost:       one forward pass, and what the functions take
    """
    import numpy as np

    from titrant.runtime.backends.session import predict_rows
    from titrant.runtime.instruments.plots.own_plot import PlotCases
    from titrant.runtime.values import TorchModel
    from titrant.schema.values.canonical import plain

    some = rows.some(np.arange(min(params.rows, len(rows))))
    outputs = predict_rows(
        model,
        some,
        engine_name=params.engine,
        threads=params.threads,
        batch=params.batch,
        device=params.device,
        progress=context.progress,
    )
    cases = PlotCases(
        params.subject,
        _read_only(some.inputs),
        _read_only(outputs.arrays),
        some.labels,
        some.targets,
        some.classes,
        model.module if isinstance(model, TorchModel) else None,
    )
    plots = [_called(function, cases, context) for function in params.functions]
    context.measure("plots", sum(not plot.failed for plot in plots))
    return {"seen": {"plots": plain(plots)}}


def _called(reference: str, cases: "PlotCases", context: Context) -> "OwnPlot":
    from titrant.runtime.instruments.plots.own_plot import OwnPlot, drawn
    from titrant.runtime.user_code import call, reason_of, resolve
    from titrant.schema.diagnostics.diagnostics import StepError

    title = reference.rpartition(":")[2].replace("_", " ")
    try:
        function: Callable[..., Any] = resolve(reference)
        title = _title(function) or title
        return drawn(reference, title, call(reference, function, cases))
    except StepError as error:
        reason = reason_of(error)
        context.note(f"{reference} drew nothing of {cases.subject}: {reason}")
        context.do_not_reuse("a plot of the recipe's own failed")
        return OwnPlot(reference, title, failed=reason)


def _title(function: Callable[..., Any]) -> str:
    """Return the first line of what a function says of itself."""
    lines = (function.__doc__ or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


def _read_only(arrays: Mapping[str, Any]) -> dict[str, Any]:
    views = {name: array.view() for name, array in arrays.items()}
    for view in views.values():
        view.flags.writeable = False
    return views
