"""Find the squeezes and excitations of an ONNX graph, whose products NNCF leaves in float."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_MEANS = ("GlobalAveragePool", "ReduceMean")
_ACTIVATIONS = ("Relu", "PRelu", "LeakyRelu", "Swish")
# With a bias of their own, as their third operand; a product without one may have it added behind.
_BIASED, _BIAS = ("Conv", "Gemm"), 2
_PRODUCTS = (*_BIASED, "MatMul")


def excitations(graph: "onnx.GraphProto", constants: Collection[str]) -> frozenset[int]:
    """Return the places of the nodes whose products compute gates of channels from the mean of each.

    NNCF looks for a mean, a product with a bias, ReLU, PReLU or SiLU, another such product, a sigmoid, and a
    multiplication (`SE_BLOCK` in its `ignored_patterns.py`). A sigmoid in pieces counts where it is written out, as
    relu6(x + 3) / 6; `HardSigmoid` does not. `constants` are the names of what the graph holds.
    """
    search = _Search(graph, constants)
    return frozenset(place for node in graph.node if node.op_type == "Mul" for place in search.behind(node))


class _Search:
    """A graph by what makes each of its values."""

    def __init__(self, graph: "onnx.GraphProto", constants: Collection[str]) -> None:
        self._constants = constants
        self._makers: Mapping[str, tuple[int, onnx.NodeProto]] = {
            name: (place, node) for place, node in enumerate(graph.node) for name in node.output
        }

    def behind(self, gating: "onnx.NodeProto") -> Iterator[int]:
        """Yield the places of both products behind a multiplication, if it multiplies by gates."""
        for operand in gating.input:
            second = self._product(self._under_sigmoid(operand))
            first = second and self._product(self._under_activation(second[1].input[0]))
            if second and first and self._maker(first[1].input[0], _MEANS):
                yield from (first[0], second[0])

    def _maker(self, name: str, kinds: Collection[str]) -> "onnx.NodeProto | None":
        node = self._makers[name][1] if name in self._makers else None
        return node if node is not None and node.op_type in kinds else None

    def _product(self, name: str) -> "tuple[int, onnx.NodeProto] | None":
        """Return the product with a bias that makes a value, and its place."""
        added = self._maker(name, ("Add",))
        inner = name if added is None else self._computed(added)
        node = self._maker(inner, _PRODUCTS)
        biased = node is not None and (added is not None or (node.op_type in _BIASED and len(node.input) > _BIAS))
        return self._makers[inner] if biased else None

    def _under_activation(self, name: str) -> str:
        """Return what an activation is computed of, "" for any other value."""
        node = self._maker(name, (*_ACTIVATIONS, "Mul"))
        if node is None:
            return ""
        if node.op_type != "Mul":
            return node.input[0]
        # SiLU, where an operator set has no name for it.
        return next((inner for inner in node.input if any(self._inside(gate) == inner for gate in node.input)), "")

    def _inside(self, name: str) -> str:
        """Return what a `Sigmoid` is computed of, "" for any other value."""
        node = self._maker(name, ("Sigmoid",))
        return "" if node is None else node.input[0]

    def _under_sigmoid(self, name: str) -> str:
        """Return what a sigmoid is computed of, whole or in pieces, "" for any other value."""
        if inner := self._inside(name):
            return inner
        scaled = self._maker(name, ("Div", "Mul"))
        cut = scaled and self._maker(self._computed(scaled), ("Clip",))
        moved = cut and self._maker(cut.input[0], ("Add",))
        return self._computed(moved) if moved else ""

    def _computed(self, node: "onnx.NodeProto") -> str:
        """Return the one operand of a node that is no constant, "" where there are more."""
        computed = [name for name in node.input if name and name not in self._constants]
        return computed[0] if len(computed) == 1 else ""
