"""Count which activations of a graph NNCF gives a range of int8, by its operations as torch names them, or ONNX."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

# What a range goes through: it is the same before and after these.
THROUGH = (
    "view", "_unsafe_view", "_reshape_alias", "transpose", "permute", "t", "expand", "squeeze", "unsqueeze", "select",
    "split", "split_with_sizes", "unbind", "clone", "alias", "detach", "repeat", "max_pool2d_with_indices", "cat",
    "constant_pad_nd", "contiguous", "stack",
)  # fmt: skip
_VIEWS = ("view", "_unsafe_view")
_PRODUCTS = ("addmm", "mm", "bmm", "baddbmm", "convolution")
ATTENTION, PLAIN_ATTENTION = "_scaled_dot_product", "_dot_product"  # the other scales its scores
# What is computed in int8 where the engine can, so that each computed operand gets a range.
_BY_ELEMENT = ("add", "sub", "rsub", "mul", "div")
_REDUCED = ("mean", "avg_pool2d", "_adaptive_avg_pool2d", "avg_pool1d", "pow", "native_layer_norm", "native_group_norm")
LSTM, RECURRENT = "lstm", "recurrent"  # NNCF leaves both in float; an LSTM gets two of titrant's own
LSTM_RANGES = 2  # before its inputs and its hidden state
TABLES = ("embedding", "embedding_bag")
_SOFTMAX = ("_softmax", "_safe_softmax")
_WEIGHTED = ("mm", "addmm", "convolution")
_BIASED, _BOTH = ("addmm", "convolution"), 2  # products that take weights and a bias
_MEANS, _ACTIVATIONS = ("mean", "_adaptive_avg_pool2d"), ("relu", "silu", "_prelu_kernel", "leaky_relu")
# A sigmoid in pieces is one where it is written out, as relu6(x + 3) / 6.
_GATE, _CUT, _SCALED = ("sigmoid",), ("hardtanh", "clamp"), ("div", "mul")


@dataclass(frozen=True)
class RangeOperation:
    """One operation, and the tensors that it takes and makes, by number: what is made later has a higher one."""

    name: str
    given: tuple[int, ...]  # computed tensors that it takes, by number
    made: tuple[int, ...]
    constants: tuple[int, ...]  # what it takes and is weights, or made of them alone: a number for each


@dataclass(frozen=True)
class RangeNeed:
    """How many ranges a tensor needs."""

    ranges: int
    whole: bool  # whether all that reads the tensor wants it in int8: one range is enough


def _joined(parts: Sequence[RangeNeed]) -> RangeNeed:
    whole = bool(parts) and all(part.whole for part in parts)
    return RangeNeed(1 if whole else sum(part.ranges for part in parts), whole)


class RangeGraph:
    """Operations with what reads and makes each tensor; `left` are those that NNCF leaves in float."""

    def __init__(self, operations: Sequence[RangeOperation]) -> None:
        self._operations = operations
        self._readers: Mapping[int, list[tuple[RangeOperation, int]]] = defaultdict(list)
        self._maker = {number: operation for operation in operations for number in operation.made}
        for operation in operations:
            for place, number in enumerate(operation.given):
                self._readers[number].append((operation, place))
        self.left = set(self._excitations(operations))

    def ranges(self, sources: Sequence[int], count: int) -> int:
        """Return how many ranges there are: one where all that reads a tensor wants one, else one for each that does.

        `sources` are the model's inputs, of `count` tensors in all. A range is moved up through what only moves
        numbers. Of a table that is kept in int8 none is needed.
        """
        computed = [*sources]
        for operation in self._operations:
            if operation.name not in (*THROUGH, *TABLES):
                computed += operation.made
        needed = self.needed(count)
        # Attention scales its queries: they get one before that and one after.
        scaled = sum(operation.name.startswith(ATTENTION) for operation in self._operations)
        own = LSTM_RANGES * sum(operation.name == LSTM for operation in self._operations)
        return sum(needed[number].ranges for number in computed) + scaled + own

    def needed(self, count: int) -> dict[int, RangeNeed]:
        """Return what each of so many tensors needs, by number; what an operation makes has a higher one."""
        needs: dict[int, RangeNeed] = {}
        for number in range(count, 0, -1):
            parts: list[RangeNeed] = []
            for operation, place in self._readers[number]:
                if operation.name in THROUGH:
                    parts.append(_joined([needs[made] for made in operation.made if self._readers[made]]))
                else:
                    takes = self._takes(operation, place)
                    parts.append(RangeNeed(int(takes), takes))
            needs[number] = _joined(parts)
        return needs

    def _takes(self, operation: RangeOperation, place: int) -> bool:
        """Whether an operation takes an operand in int8."""
        name = operation.name
        if name.startswith((ATTENTION, PLAIN_ATTENTION)):
            return place < 2  # queries and keys; the values are multiplied by a softmax, which stays in float
        if name in ("bmm", "baddbmm"):
            return not any(self._before(number, _SOFTMAX) for number in operation.given)
        if operation in self.left:
            return False
        if name in _BY_ELEMENT:
            # The bias and the scale by weights of a product, or of another such operation, are a part of it.
            fused = (*_WEIGHTED, *_BY_ELEMENT)
            return not (operation.constants and self._before(operation.given[place], fused, _VIEWS))
        return name in (*_PRODUCTS, *_REDUCED)

    def _excitations(self, operations: Sequence[RangeOperation]) -> Iterator[RangeOperation]:
        """Yield the two products, with biases, of each squeeze and excitation; with a reshape between they are none."""
        for gated in (number for operation in operations if operation.name == "mul" for number in operation.given):
            gate = self._before(gated, _GATE, ()) or self._sigmoid_in_pieces(gated)
            second = gate and self._before(gate.given[0], _BIASED, ())
            inner = second and self._before(second.given[0], _ACTIVATIONS, ())
            first = inner and self._before(inner.given[0], _BIASED, ())
            if second and first and self._before(first.given[0], _MEANS, ()):
                yield from (each for each in (first, second) if len(first.constants) == len(second.constants) == _BOTH)

    def _sigmoid_in_pieces(self, number: int) -> RangeOperation | None:
        """Return the sum at the beginning of a sigmoid that is written out."""
        scaled = self._before(number, _SCALED, ())
        cut = scaled and self._before(scaled.given[0], _CUT, ())
        return self._before(cut.given[0], ("add",), ()) if cut else None

    def _before(self, number: int, names: Collection[str], moved: Collection[str] = THROUGH) -> RangeOperation | None:
        """Return the operation that computes a tensor, before what only moves it, if it is one of these."""
        operation = self._maker.get(number)
        while operation is not None and operation.name in moved:
            operation = self._maker.get(operation.given[0])
        return operation if operation is not None and operation.name in names else None
