"""Run a model on two cases of its inputs' shapes, and record its outputs, FLOPs and activation memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from titrant.runtime.data.user_code import call
from titrant.runtime.inspecting.torch_flops import counter
from titrant.schema.diagnostics import Diagnostic, StepError
from titrant.schema.facts import TensorSpec

if TYPE_CHECKING:
    import torch

    from titrant.runtime.inspecting.activation import ActivationPeak

# Two cases, so that an output's batch dimension can be told from one that happens to be 1.
CASES = 2


@dataclass(frozen=True)
class ForwardPass:
    """What a forward pass of two cases showed; FLOPs and bytes are those of one case."""

    outputs: tuple[TensorSpec, ...]
    flops: int | None
    flops_by_module: Mapping[str, int]
    activation_bytes: int | None
    uncounted: tuple[str, ...] = ()  # operations that may multiply matrices and have no known FLOPs
    unread: frozenset[str] = frozenset()  # parts with weights of their own of which none was read

    @property
    def notes(self) -> tuple[str, ...]:
        """Say why the FLOPs are unknown, where they are."""
        names = ", ".join(self.uncounted)
        return (f"FLOPs are not known: titrant has no count of {names}",) if self.uncounted else ()


MISFIT = "check `model.args` and `data.inputs`: the model must take the data's shape"
NOT_RUN = ForwardPass((), None, {}, None)


def run_forward(
    name: str, module: "torch.nn.Module", specs: Sequence[TensorSpec], task: str, advice: str = MISFIT
) -> ForwardPass:
    """Run a module in evaluation mode on two cases, without gradients; errors call it `name` and give `advice`.

    Whether tensors have values is the caller's choice, by the mode that it enters first. Raises StepError X156 when the
    forward pass fails, or returns anything but tensors whose first dimension is the batch.
    """
    import torch

    from titrant.runtime.inspecting.activation import ActivationPeak
    from titrant.runtime.inspecting.uncounted import Uncounted

    place = next((tensor.device for tensor in module.parameters()), None)
    inputs = [
        torch.zeros(CASES, *map(int, spec.shape[1:]), dtype=getattr(torch, spec.dtype), device=place) for spec in specs
    ]
    peak = ActivationPeak([*module.parameters(), *module.buffers(), *inputs])
    counting = counter()
    uncounted = Uncounted(counting)
    shapes = ", ".join(f"{spec.name} ({', '.join(map(str, spec.shape))})" for spec in specs)
    with torch.no_grad(), uncounted, counting, peak:
        try:
            answer = call(f"{name}, shown {shapes},", module, *inputs)
        except StepError as error:
            told = error.diagnostics[0].message
            raise StepError(Diagnostic("X156", told, help=advice)) from None
    outputs = _outputs(name, answer, task)
    counts = {path: sum(kinds.values()) // CASES for path, kinds in counting.get_flop_counts().items()}
    # The counter puts the class's name before each path.
    prefix = type(module).__name__ + "."
    by_module = {
        path.removeprefix(prefix): flops
        for path, flops in counts.items()
        if path.startswith(prefix) and path not in uncounted.modules
    }
    flops = None if uncounted.operations else counting.get_total_flops() // CASES
    unread = frozenset(path for path, part in module.named_modules() if _unread(part, peak))
    return ForwardPass(outputs, flops, by_module, peak.peak_bytes // CASES, tuple(sorted(uncounted.operations)), unread)


def _unread(part: "torch.nn.Module", peak: "ActivationPeak") -> bool:
    own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    return bool(own) and not any(peak.reads(tensor) for tensor in own)


def _outputs(model: str, answer: Any, task: str) -> tuple[TensorSpec, ...]:
    import torch

    named = dict(_named(answer, task))
    for name, tensor in named.items():
        if not isinstance(tensor, torch.Tensor):
            raise StepError(
                Diagnostic("X156", f"{model} answers with {type(tensor).__name__}", help="return a tensor, or several")
            )
        if not tensor.ndim or tensor.shape[0] != CASES:
            raise StepError(
                Diagnostic(
                    "X156",
                    f"{model} answers {CASES} cases with {name} of shape {tuple(tensor.shape)}",
                    help="the first dimension of an output is the batch",
                )
            )
    return tuple(
        TensorSpec(name, ("batch", *tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in named.items()
    )


def _named(answer: Any, task: str) -> Iterator[tuple[str, Any]]:
    """Name a model's outputs: by key, by place, or for a single one by the task."""
    if isinstance(answer, Mapping):
        yield from ((str(name), tensor) for name, tensor in answer.items())
    elif isinstance(answer, (tuple, list)):
        yield from ((f"output_{place}", tensor) for place, tensor in enumerate(answer))
    else:
        yield ("logits" if task.endswith("classification") else "output"), answer
