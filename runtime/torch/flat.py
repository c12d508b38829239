"""Make any module answer with a tensor or a tuple of tensors, as traces and exporters need."""

from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.torch.calling import named


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


def flat(module: torch.nn.Module, outputs: tuple[str, ...], answer: Any) -> torch.nn.Module:
    """Wrap a module in eval mode whose `answer` to some batch has another form than a trace can hold.

    Others are left bare, as the wrapper makes every name in the file longer.
    """
    bare = isinstance(answer, torch.Tensor) or (isinstance(answer, tuple) and len(answer) == len(outputs))
    return module.eval() if bare else Flat(module, outputs).eval()
