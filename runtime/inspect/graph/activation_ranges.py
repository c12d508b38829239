"""Count the activations that NNCF gives a range of int8 in a graph, from the operations that torch runs."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch  # noqa: TID253 - the file follows tensors
from torch.utils._pytree import tree_leaves  # noqa: TID253
from torch.utils.weak import WeakIdKeyDictionary  # noqa: TID253

from titrant.runtime.inspect.graph.range_graph import LSTM, LSTM_RANGES, RECURRENT, TABLES, RangeGraph, RangeOperation


class Dataflow:
    """Follows computed tensors from operation to operation; `inputs` are a model's.

    A tensor has its number as long as it lives, whatever storage it shares: a view is another tensor. What no number
    leads to is weights, or made of weights alone.
    """

    def __init__(self, inputs: Iterable[torch.Tensor]) -> None:
        self._numbers: Any = WeakIdKeyDictionary()
        self._operations: list[RangeOperation] = []
        self._count = 0
        self.further_layers = 0  # of recurrent modules, beyond the first of each
        self._further_lstms = 0  # of them, those of LSTMs
        self._sources = [self._number(tensor) for tensor in inputs if tensor.is_floating_point()]

    def note(self, name: str, given: Sequence[torch.Tensor], made: Sequence[torch.Tensor]) -> None:
        """Keep what an operation takes and makes; one that takes weights alone makes a constant."""
        numbers = tuple(self._numbers[tensor] for tensor in given if tensor in self._numbers)
        if made and (numbers or name in TABLES):
            constants = tuple(_storage(tensor) for tensor in given if tensor not in self._numbers)
            own = tuple(self._number(tensor) for tensor in made)
            self._operations.append(RangeOperation(name, numbers, own, constants))

    def note_recurrent(self, part: torch.nn.RNNBase, given: Any, made: Any) -> None:
        """Keep a recurrent module, which is one operation for all its steps and layers."""
        is_lstm = isinstance(part, torch.nn.LSTM)
        self.note(LSTM if is_lstm else RECURRENT, _tensors(given), _tensors(made))
        self.further_layers += part.num_layers - 1
        self._further_lstms += part.num_layers - 1 if is_lstm else 0

    def _number(self, tensor: torch.Tensor) -> int:
        self._count += 1
        self._numbers[tensor] = self._count
        return self._count

    def excitations(self, module: torch.nn.Module) -> frozenset[str]:
        """Name the layers that compute the gates of a squeeze and excitation: NNCF leaves them in float."""
        read = {storage for operation in RangeGraph(self._operations).left for storage in operation.constants}
        return frozenset(name.rpartition(".")[0] for name, own in module.named_parameters() if _storage(own) in read)

    def ranges(self) -> int:
        """Return how many ranges there are, of all that was noted.

        Each further layer of an LSTM has its own, which no tensor of torch's shows.
        """
        return RangeGraph(self._operations).ranges(self._sources, self._count) + LSTM_RANGES * self._further_lstms


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
