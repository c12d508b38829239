"""Make any module answer with a tensor or a tuple of tensors, as traces and exporters need."""

import torch  # noqa: TID253 - its very subject

from titrant.runtime.torch.calling import named
from titrant.runtime.values import TorchModel


class Flat(torch.nn.Module):
    """A module whose answer is cut down to its named outputs, in order."""

    def __init__(self, module: torch.nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.outputs = outputs

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Answer a batch."""
        found = tuple(named(self.module(*inputs), self.outputs).values())
        return found[0] if len(found) == 1 else found


def flat(model: TorchModel) -> torch.nn.Module:
    """Return the model's module in eval mode, answering with its named outputs only."""
    return Flat(model.module, model.outputs).eval()
