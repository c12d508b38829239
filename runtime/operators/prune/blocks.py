"""Remove whole blocks of a network, such as residual blocks and encoder layers: those that its answers need least."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.contract.reading import Reading
from titrant.runtime.cost.forward import BASE_SECONDS, forward_seconds, modelled, speed_of
from titrant.runtime.cost.sizes import missing, torch_bytes
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Unmet, Variant, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.text import covered

if TYPE_CHECKING:
    import torch

    from titrant.runtime.backends.torch.reduced.blocks import Block

_NONE = "write reduction.pruning.method: structured, which removes channels"


class BlocksParams(Params):
    """How many blocks are removed, or what share of their parameters, and how that is measured."""

    blocks: int | None = Field(None, ge=1, description="blocks that are removed; none: by `sparsity`")
    sparsity: float = Field(
        0.3, gt=0, lt=1, description="share of all removable blocks' parameters that goes: the nearest not above it"
    )
    skip: tuple[str, ...] = Field((), description="module name patterns of blocks that stay")
    rows: int = Field(256, ge=1, description="tuning rows that are answered, at most")
    reading: Reading | None = Field(
        None, exclude_if=lambda value: value is None, description="how outputs are read; none: logits of the classes"
    )


def requires(params: BlocksParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch, and as many blocks as are to go."""
    packages = missing(hardware, "torch")
    if model is None:
        return packages
    there = len(_blocks(params, model))
    if not there:
        cause = "the model has no block that an identity can stand for: none of several of one class keeps its shape"
        return (*packages, Unmet(cause, _NONE))
    if params.blocks is not None and params.blocks > there:
        cause = f"{params.blocks} blocks are to be removed, and {there} can be"
        return (*packages, Unmet(cause, f"write reduction.pruning.blocks: {there} or less"))
    return packages


def _blocks(params: BlocksParams, model: ModelFacts) -> dict[str, int]:
    """Return the removable blocks and their parameters, the smallest first."""
    sizes = {}
    for name in model.blocks:
        layers = [layer for layer in model.layers if layer.name.startswith(f"{name}.")]
        if not any(covered(layer.name, params.skip) for layer in layers):
            sizes[name] = sum(layer.parameters for layer in layers)
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def _expected(params: BlocksParams, model: ModelFacts) -> list[str]:
    """Name the blocks that are taken to go, the smallest: which ones really do, only their answers tell."""
    sizes = _blocks(params, model)
    if params.blocks is not None:
        return list(sizes)[: params.blocks]
    room, gone = params.sparsity * sum(sizes.values()), list[str]()
    for name, size in sizes.items():
        if size <= room or not gone:
            gone.append(name)
            room -= size
    return gone


def model_after(params: BlocksParams, model: ModelFacts) -> ModelFacts:
    """Take the smallest blocks' layers out."""
    gone = tuple(f"{name}." for name in _expected(params, model))
    layers = [layer for layer in model.layers if layer.name.startswith(gone)] if gone else []
    lost = sum(layer.parameters for layer in layers)
    names = {layer.name for layer in layers}
    flops = sum(layer.flops or 0 for layer in layers)
    return replace(
        model,
        layers=tuple(layer for layer in model.layers if layer.name not in names),
        blocks=tuple(name for name in model.blocks if f"{name}." not in gone),
        parameters=model.parameters - lost,
        trainable=model.trainable - sum(layer.trainable for layer in layers),
        weight_bytes=model.weight_bytes - sum(layer.weight_bytes for layer in layers),
        flops=None if model.flops is None else model.flops - flops,
    )


def predict(
    params: BlocksParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Model each measured removal as a forward pass over the rows; the size is that without the smallest blocks."""
    if model is None:
        return Prediction()
    rows = min(params.rows, work.rows.get("tuning", params.rows))
    there, gone = len(_blocks(params, model)), len(_expected(params, model))
    norms = any(layer.type.startswith("BatchNorm") for layer in model.layers)
    passes = 1 + (there + gone) * (2 if norms else 1)
    forward = forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), rows)
    peak = 3 * model.weight_bytes + min(rows, 64) * (model.activation_bytes or 0)
    predicted = modelled(hardware, 2 * BASE_SECONDS + passes * forward, peak, torch_bytes(model_after(params, model)))
    return replace(predicted, bases={**predicted.bases, "output_bytes": "guess"})


def _too_few(count: int) -> Callable[[ModelFacts], str]:
    """Return what speaks against removing so many blocks."""
    return lambda model: "" if len(model.blocks) >= count else f"the model has {len(model.blocks)} removable blocks"


def rewrite(module: "torch.nn.Module", record: Mapping[str, Any]) -> "torch.nn.Module":
    """Let what they are given pass in place of the recorded blocks, in place."""
    from titrant.runtime.backends.torch.reduced.removal import without

    forms = record.get("forms", {})
    return without(module, {name: forms.get(name, {}) for name in record["blocks"]})


@operator(
    "prune.blocks",
    version=4,
    family="prune",
    params=BlocksParams,
    inputs={"model": "torch", "tuning": "rows"},
    outputs={"model": "torch", "removed": "value"},
    requires=requires,
    predict=predict,
    model_after=model_after,
    loads=("torch", "titrant.runtime.backends.torch.reduced.removal"),
    libraries=("torch", "numpy"),
    user_code=True,
    method=Method(
        "prune.blocks",
        takes="torch",
        rank=1,
        arithmetic=Arithmetic(),
        variants=tuple(Variant(str(count), {"blocks": count}, against=_too_few(count)) for count in (1, 2, 3)),
    ),
)
def prune_blocks(params: BlocksParams, context: Context, *, model: Any, tuning: Any) -> dict[str, Any]:
    """Remove the blocks whose removal alone moves the answers on tuning rows least.

    Helps when: a network repeats blocks that keep their shape, as residual networks and transformers do, and there are
                rows to train on afterwards. Depth is what costs time on small networks: a block less is faster at
                every precision, where narrower layers often are not.
    Inputs:     model - any module; a block is a part with parts of its own, one of several of its class, called once,
                whose first output has the shape and dtype of the tensor that it is given. Of nested ones the outermost
                counts. tuning - rows, of which `rows` at even distances are answered
    Outputs:    model - an identity stands for each removed block, which hands on what it is given in the form in which
                the block answered; removed - {"blocks": [name], "kl": [{"block", "kl"}], "steps": [{"block", "kl"}],
                "left": [{"block", "because"}], "parameters_before", "parameters_after", "rows"}. `kl` is the mean
                divergence KL(before || after) in nats of class probabilities with that block alone gone, in `steps`
                with it and all before it; for outputs that are no logits or probabilities the squared error relative
                to the squares of the answers. Batch norms have the mean and variance of what these rows then bring to
                them, in what is measured and in the model: a training puts that right in its first steps, and what it
                cannot put right is to choose. Of blocks that these cannot tell apart (a paired difference within two
                standard errors) the smallest goes first. `left` are blocks that the forward cannot do without
    Fails:      PreconditionError X550 where no block can be removed or fewer than asked for; StepError X404 without
                tuning rows, X420 where the outputs do not fit the task
    Cost:       a forward pass over the rows for each block, and for each one that is removed, two where there are batch
                norms; memory of two models
    """
    from titrant.runtime.backends.torch.module import rewritten
    from titrant.runtime.backends.torch.reduced.removal import Remover, removable

    remover = Remover(model, tuning, params.rows, params.reading, context)
    names = [name for name, _ in model.module.named_modules()]
    stay = [name for name in names if covered(name, params.skip)]
    blocks = [
        block
        for block in removable(model, remover.rows)
        if not any(name == block.name or name.startswith(f"{block.name}.") for name in stay)
    ]
    _check(params.blocks, len(blocks), "")
    room = int(params.sparsity * sum(block.parameters for block in blocks))
    removal = remover.cheapest(blocks, params.blocks, room)
    _check(params.blocks, len(removal.removed), next(iter(removal.refused.values()), ""))
    made = rewritten(model, "prune.blocks", _record(blocks, removal.removed))
    remover.estimate(made)
    before, after = (_parameters(item.module) for item in (model, made))
    context.measure("parameters_removed", 1 - after / before)
    context.measure("blocks_removed", len(removal.removed))
    context.measure("kl", list(removal.removed.values())[-1])
    removed = {
        "blocks": list(removal.removed),
        "kl": _listed(removal.alone),
        "steps": _listed(removal.removed),
        "left": [{"block": name, "because": because} for name, because in removal.refused.items()],
        "parameters_before": before,
        "parameters_after": after,
        "rows": len(remover.rows),
    }
    return {"model": made, "removed": removed}


def _record(blocks: "list[Block]", removed: Mapping[str, float]) -> dict[str, Any]:
    forms = {block.name: form for block in blocks if block.name in removed and (form := block.form())}
    return {"blocks": list(removed)} | ({"forms": forms} if forms else {})


def _listed(moved: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"block": name, "kl": kl} for name, kl in moved.items()]


def _parameters(module: "torch.nn.Module") -> int:
    return sum(tensor.numel() for tensor in module.parameters())


def _check(count: int | None, there: int, because: str) -> None:
    """Raise PreconditionError X550 where there are no blocks, or fewer than are to be removed."""
    if there >= (count or 1):
        return
    reason = f" ({because})" if because else ""
    message = f"{'a block is' if count is None else f'{count} blocks are'} to be removed, and {there} can be{reason}"
    advice = f"write reduction.pruning.blocks: {there} or less" if there else _NONE
    raise PreconditionError(Diagnostic("X550", message, help=advice))
