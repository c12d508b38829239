"""Choose which regions the next mixture leaves in float: the fastest that is likely to keep the contract."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.cost.forward import basis_of
from titrant.runtime.mixture.allocation import Conversion, Frontier, Mix, Priced, RegionPrice, frontier, timed_frontier
from titrant.runtime.mixture.proposal import WORTH, TriedMix, propose, to_beat
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.gain import factor_words
from titrant.schema.plan import Prediction

_SECONDS, _BYTES = 0.4, 4000


class AllocateParams(Params):
    """What the contract asks, and which of those tried are no mixtures."""

    mix: int = Field(1, ge=1, description="which mixture of a search this is, from 1")
    uniform: tuple[str, ...] = Field(
        (), strict=False, description="those tried that have every region in int8, the one most like a mixture last"
    )
    retention: float | None = Field(
        None, gt=0, description="share of the original's quality that a mixture must keep; none: it is not asked"
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of the one-sided bound of what one tried keeps")


def predict(
    params: AllocateParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Solve a few small integer programs."""
    return Prediction(seconds=_SECONDS, peak_bytes=1 << 22, output_bytes=_BYTES, basis=basis_of(hardware))


@operator(
    "quantize.allocate",
    version=3,
    family="quantize",
    params=AllocateParams,
    inputs={
        "sensitivity": "value",
        "prices": "value",
        "tried": Port(("value",), optional=True, many=True),
        "proposals": Port(("value",), optional=True, many=True),
    },
    outputs={"allocation": "value", "proposal": "value"},
    predict=predict,
    loads=("numpy", "scipy.optimize", "titrant.runtime.contract.statistics.tuning_bound"),
    libraries=("numpy", "scipy"),
)
def quantize_allocate(
    params: AllocateParams,
    context: Context,
    *,
    sensitivity: Mapping[str, Any],
    prices: Mapping[str, Any],
    tried: Mapping[str, Any] | None = None,
    proposals: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Sweep the damage that a mixture may do, find the fastest for each by an integer program, and choose the next.

    Helps when: a method in int8 loses more than the contract allows and float is slow. Which layers are the most
                sensitive does not say what to leave: conversions between them cost about what they gain.
    Inputs:     sensitivity - of sensitivity.regions; prices - of profile.regions, of the same regions; tried -
                validate.measure's `quality` of the uniform candidates and of the mixtures before, by name; proposals -
                what this operator proposed for those mixtures, by name. One that is proposed and was not tried could
                not be made
    Outputs:    allocation - {"leave": the layers that stay in float}; proposal - {"int8": regions, "leave": regions,
                "predicted": {"seconds", "damage", "speedup_over_int8", "speedup_over_fp32"}, "frontier": [{"leave",
                "seconds", "damage"}], from the fastest, "unsolved": budgets of damage without a solution, "tried":
                [{"name", "leave", "kept", "retention", "lower", "rows", "damage", "seconds"}], lower being what it
                keeps at least}
                Where nothing is left that is worth making, which ends a search, `leave` is none and `ended` says why
    Fails:      PreconditionError X258 where no share of the original's quality is asked, X259 where the
                solver finds no mixture, X262 for figures that do not fit together
    Cost:       milliseconds
    """
    if params.retention is None:
        text = "no share of the original's quality is asked, by which a mixture could be kept"
        advice = "set validation.retention, or search.mix_layers to false"
        raise PreconditionError(Diagnostic("X258", text, help=advice))
    priced, layers = _priced(sensitivity, prices)
    swept = _swept(priced, prices)
    attempts = _tried(params, params.retention, priced, tried or {}, proposals or {})
    mixes = [TriedMix(each["int8"], each["kept"], each["loss"]) for each in attempts]
    done = {each["name"] for each in attempts}
    refused = {frozenset(mix) for mix in prices.get("refused", ())}
    refused |= {frozenset(made["int8"]) for name, made in (proposals or {}).items() if name not in done}
    chosen = propose(priced, swept, mixes, params.retention, refused=refused)
    figures = {
        "frontier": [{"leave": list(mix.left), "seconds": mix.seconds, "damage": mix.damage} for mix in swept.mixes],
        "unsolved": list(swept.unsolved),
        "tried": [_shown(each, priced) for each in attempts],
    }
    if chosen is None:
        ended = _nothing_left(params.retention, priced, swept, mixes)
        return {"allocation": {"leave": None, "ended": ended}, "proposal": figures}
    predicted = _predicted(chosen, prices)
    context.measure("predicted_seconds", chosen.seconds, "s")
    context.measure("predicted_damage", chosen.damage)
    context.measure("regions_in_float", len(chosen.left))
    return {
        "allocation": {"leave": [layer for name in chosen.left for layer in layers[name]]},
        "proposal": {
            "int8": list(chosen.int8),
            "leave": list(chosen.left),
            "predicted": predicted,
            **figures,
        },
    }


def _priced(sensitivity: Mapping[str, Any], prices: Mapping[str, Any]) -> tuple[Priced, dict[str, list[str]]]:
    """Return the regions with their prices and damages, and {region: its layers}; X262 where they do not fit."""
    damages = {region["name"]: region for region in sensitivity["regions"]}
    layers = {region["name"]: list(region["layers"]) for region in prices["regions"]}
    unlike = {name for name in {*damages, *layers} if damages.get(name, {}).get("layers") != layers.get(name)}
    if unlike:
        raise PreconditionError(
            Diagnostic(
                "X262",
                f"{len(unlike)} regions have a damage or a price, and not both, the first {min(unlike)}",
                help="give both steps the same layers and options",
            )
        )
    regions = tuple(
        RegionPrice(
            region["name"],
            region["fp32"],
            region["int8"],
            damages[region["name"]]["kl"],
            "refused" in damages[region["name"]],
        )
        for region in prices["regions"]
    )
    conversions = tuple(
        Conversion(edge["from"], tuple(edge["to"]), edge["quantize"], edge["dequantize"]) for edge in prices["edges"]
    )
    return Priced(regions, conversions, prices["rest"], sensitivity.get("whole")), layers


def _tried(
    params: AllocateParams,
    retention: float,
    priced: Priced,
    tried: Mapping[str, Any],
    proposals: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """List what was measured of those tried, the uniform one first: of several the one most like a mixture.

    One is kept where its bound keeps what is asked of all cases and no subgroup was seen to lose more than it may. What
    it lost is the larger share of what may be lost, of all cases or of the worst subgroup.
    """
    from titrant.runtime.contract.statistics.tuning_bound import tuning_bound

    uniform = [name for name in params.uniform if name in tried][-1:]
    names = [*uniform, *(name for name in proposals if name in tried)]
    attempts = []
    for name in names:
        int8 = frozenset(priced.names if name in uniform else proposals[name]["int8"])
        bound = tuning_bound(tried[name], retention, params.confidence)
        if bound is not None:
            spent = max((seen["spent"] for seen in tried[name].get("groups", {}).values()), default=0.0)
            figures = {"retention": bound.kept, "lower": bound.lower, "rows": bound.rows}
            figures |= {"kept": bound.lower >= retention and spent <= 1}
            loss = max(1 - bound.lower, (1 - retention) * spent)
            attempts.append({"name": name, "int8": int8, "loss": loss, **figures})
    return attempts


def _swept(priced: Priced, prices: Mapping[str, Any]) -> Frontier:
    try:
        if prices["predicted"]:
            swept = frontier(priced)
        else:
            swept = timed_frontier(priced, {frozenset(mix["int8"]): mix["seconds"] for mix in prices["mixes"]})
    except ValueError as error:
        raise PreconditionError(Diagnostic("X262", f"the regions cannot be priced: {error}")) from error
    if not swept.mixes:
        message = f"the solver found no mixture of {len(priced.regions)} regions within {len(swept.unsolved)} budgets"
        raise PreconditionError(
            Diagnostic("X259", message, help="set search.mix_layers to false, or quantization.skip")
        )
    return swept


def _nothing_left(retention: float, priced: Priced, swept: Frontier, mixes: Sequence[TriedMix]) -> str:
    """Say what ends the search: what is to be beaten, and why nothing does.

    As speeds over all in float: prices are CPU time of one moment, and what is reported beside is wall time of another.
    """
    fastest, beaten, plain = swept.mixes[0].seconds, to_beat(priced, swept, mixes), to_beat(priced, swept, ())
    kept = f"the fastest that was kept ({factor_words(plain / beaten)} all layers in float)"
    beats = "all layers in float" if beaten == plain else kept
    why = (
        "those that are were tried, cannot be made, or do as much damage as one that lost too much"
        if fastest * (1 + WORTH) <= beaten
        else f"the fastest is predicted at {factor_words(plain / fastest)} the speed of all layers in float"
    )
    return (
        f"no mixture is left that is predicted 5 % faster than {beats}: {why}; "
        f"of {len(mixes)} tried, {sum(mix.kept for mix in mixes)} kept {retention:g}"
    )


def _predicted(mix: Mix, prices: Mapping[str, Any]) -> dict[str, float]:
    return {
        "seconds": mix.seconds,
        "damage": mix.damage,
        "speedup_over_int8": prices["int8"] / mix.seconds,
        "speedup_over_fp32": prices["fp32"] / mix.seconds,
    }


def _shown(attempt: Mapping[str, Any], priced: Priced) -> dict[str, Any]:
    int8 = attempt["int8"]
    return {
        "name": attempt["name"],
        "leave": [name for name in priced.names if name not in int8],
        **{name: attempt[name] for name in ("kept", "retention", "lower", "rows")},
        "damage": priced.damage(int8),
        "seconds": priced.seconds(int8),
    }
