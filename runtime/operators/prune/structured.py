"""Remove channels, neurons and heads for good, with everything that depends on them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from titrant.runtime.backends.backend import distribution, run_cost
from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.cost.forward import forward_seconds, layer_class, modelled, speed_of
from titrant.runtime.cost.pruned import narrowed
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Variant, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

# Tracing a model, and trying one of its groups: two copies, and three passes in double precision.
_SECONDS, _GROUP_SECONDS, _GROUP_PASSES = 0.3, 0.02, 8
# Counts of a group whose damage is measured, and the rows of a batch.
_COUNTS, _BATCH = 5, 64
_LIBRARY, _INSTALL = "torch-pruning", "pip install 'titrant[pruning]'"
_EVEN_UP_TO = 0.2
# What share is removed in turn where nobody says how much.
_TRIED = (0.1, 0.2, 0.3)


class StructuredParams(Params):
    """How much is removed, of what, and by which score."""

    sparsity: float = Field(0.3, gt=0, lt=1, description="share of the parameters that is removed, at most")
    skip: tuple[str, ...] = Field((), description="module name patterns left whole")
    round_to: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="channels or neurons that are removed together; auto: 16 channels of convolutions that have at "
        "least 32, others are left whole; 8 neurons of linear layers that have at least 64, else 1",
    )
    importance: Literal["magnitude", "taylor"] = Field(
        "magnitude",
        description="what is kept: the largest weights of all layers of a group, or what the loss on train rows (else "
        "tuning rows) with labels depends on most",
    )
    distribution: Literal["auto", "uniform", "heterogeneous"] = Field(
        "auto",
        description="the same share of every group; or, by an integer program, more of those that harm the answers to "
        "tuning rows less; auto: that beyond a sparsity of 0.2, or where whole blocks allow no equal share, if there "
        "are tuning rows",
    )
    rows: int = Field(256, ge=1, description="tuning rows on which damage is measured, at most; also rows for taylor")


def requires(params: StructuredParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, torch-pruning, and a layer that makes what another one reads."""
    unmet = missing(hardware, "torch")
    if distribution(hardware.identity.packages, _LIBRARY) is None:
        unmet = (*unmet, Unmet(f"{_LIBRARY} is not installed", _INSTALL))
    if model is None:
        return unmet
    if model.state is not None:
        unmet = (*unmet, Unmet("the model has recurrent state, which it does not follow", "use prune.magnitude"))
    wide = [layer for layer in model.layers if layer_class(layer) in ("convolution", "product")]
    if len(wide) < 2 and not any(layer.type == "MultiheadAttention" for layer in wide):
        cause = "it removes what one convolution or linear layer makes and another reads, and the model has no two"
        unmet = (*unmet, Unmet(cause, "take reduction.pruning out"))
    return unmet


def model_after(params: StructuredParams, model: ModelFacts) -> ModelFacts:
    """Narrow every layer alike; which of them are narrowed is found when it runs."""
    return narrowed(model, params.sparsity)


def predict(
    params: StructuredParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count a trial of every group, and beyond an even share a pass over the rows for each count of each group."""
    if model is None:
        return Prediction()
    speed, cost = speed_of(hardware, work.threads), run_cost("torch", "torch")
    groups = sum(layer_class(layer) in ("convolution", "product") for layer in model.layers)
    seconds = _SECONDS + groups * (_GROUP_SECONDS + _GROUP_PASSES * forward_seconds(model, speed, cost, 2))
    by_damage = params.distribution == "heterogeneous" or (
        params.distribution == "auto" and params.sparsity > _EVEN_UP_TO
    )
    rows = min(params.rows, work.rows.get("tuning", 0))
    passed = rows / _BATCH * forward_seconds(model, speed, cost, _BATCH)
    seconds += passed * (groups * _COUNTS if by_damage and rows else 2)
    peak = 7 * model.weight_bytes + _BATCH * (model.activation_bytes or 0)
    return modelled(hardware, seconds, peak, torch_bytes(model_after(params, model)))


def rewrite(module: Any, record: Any) -> Any:
    """Leave of the recorded layers, in place, what the record says is kept."""
    from titrant.runtime.backends.torch.pruning.cut import rewrite as cut

    return cut(module, record)


@operator(
    "prune.structured",
    version=1,
    family="prune",
    params=StructuredParams,
    inputs={
        "model": "torch",
        "train": Port(("rows",), optional=True, when=("importance", "taylor")),
        "tuning": Port(("rows",), optional=True),
    },
    outputs={"model": "torch", "removed": "value"},
    requires=requires,
    predict=predict,
    model_after=model_after,
    loads=("torch", "torch_pruning", "titrant.runtime.backends.torch.pruning.prune"),
    libraries=("torch", _LIBRARY, "scipy", "numpy"),
    user_code=True,
    method=Method(
        "prune.structured",
        takes="torch",
        rank=3,
        arithmetic=Arithmetic(),
        variants=tuple(Variant(f"{share:.1f}", {"sparsity": share}) for share in _TRIED),
    ),
)
def prune_structured(
    params: StructuredParams, context: Context, *, model: Any, train: Any = None, tuning: Any = None
) -> dict[str, Any]:
    """Remove the least important channels of convolutions, neurons of linear layers and heads of attention, for good.

    Helps when: layers are wider than the task needs and there are rows to train back what was lost: the tensors are
                smaller, so that every engine gains. Whole blocks (prune.blocks) gain more time for the same loss in
                small residual networks; int8 convolutions of fewer than 16 channels are no faster.
    Inputs:     model - a module with convolutions, linear layers or attention, without recurrent state, whose forward
                takes no decision on values; train - rows with labels for taylor scores; tuning - rows on which damage
                is measured, and to try the model on; random numbers without
    Outputs:    model - narrower, outputs as wide as before; its rewrite record says what is kept of each tensor, and is
                replayed without torch-pruning. removed - JSON: groups with their units and how many are kept, layers
                left whole and why, parameters, multiply-adds of a row, KL of the answers. The measurement
                parameters_removed is their share, compression what was over what is left
    Fails:      PreconditionError where nothing can be removed (X540) or the forward cannot be traced (X542); StepError
                for taylor without labels (X541), for heterogeneous without tuning rows (X543)
    Cost:       a few forward passes for each layer; beyond a sparsity of 0.2, five passes over `rows` rows for each
                layer; memory of five copies of the weights
    """
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.operators.model.fold import with_plain_weights

    _check_installed(model)
    from titrant.runtime.backends.torch.pruning.prune import PruningRequest, prune

    asked = PruningRequest(
        params.sparsity, params.skip, params.round_to, params.importance, params.distribution, params.rows
    )
    plain = with_plain_weights(model)
    with fixed_settings(context.threads, deterministic=False):
        pruned = prune(plain, train, tuning, asked, context)
        made = rewritten(plain, "prune.structured", pruned.record)
    before, after = pruned.summary["parameters_before"], pruned.summary["parameters_after"]
    context.measure("parameters_removed", 1 - after / before)
    context.measure("weights_masked", 0.0)
    context.measure("compression", before / after)
    for name, distance in pruned.summary["kl"].items():
        context.measure(f"kl.{name}", distance)
    return {"model": made, "removed": dict(pruned.summary)}


def _check_installed(model: Any) -> None:
    import importlib.util

    if importlib.util.find_spec("torch_pruning") is None:
        message = f"prune.structured takes {_LIBRARY}, which is not installed"
        raise PreconditionError(Diagnostic("X544", message, help=_INSTALL))
    if model.recurrence is not None:
        message = "prune.structured does not follow the recurrent state of the model"
        raise PreconditionError(Diagnostic("X542", message, help="use prune.magnitude"))
