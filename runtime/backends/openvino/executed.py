"""Read back from OpenVINO in which precision it runs each operation with weights: it decides that as it compiles."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from titrant.runtime.backends.backend import ExecutedLayer
from titrant.runtime.backends.openvino.names import MULTIPLY, SEQUENCES, layers_of, with_bodies

if TYPE_CHECKING:
    import openvino

# What multiplies weights or looks rows up in them, as the compiled graph calls it, and the place of the weights.
_WEIGHTED: Mapping[str, int] = {
    "Convolution": 1, "Deconvolution": 1, "FullyConnected": 1, "MatMul": 1, "Gather": 0, "RNNCell": 1, "RNNSeq": 1,
    "LLMMLP": 1, "QKVProjection": 1,
}  # fmt: skip
_RECURRENT, _DIRECTIONS = ("RNNCell", "RNNSeq"), 2
# A constant as a compiled graph and as a file call it.
_CONSTANT, _MADE = "Const", "Constant"
_INPUTS = ("Input", "Parameter")
_LEAST_DIMENSIONS = 2
_PRECISIONS = {
    "f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4",
}  # fmt: skip
_PACKED = ("int8", "int4")


def executed(model: Any, *, threads: int = 1, layers: Collection[str] = ()) -> tuple[ExecutedLayer, ...]:
    """Return every operation of the compiled graph that multiplies by constant weights or looks rows up in them.

    One whose kernel unpacks its weights counts as what these are kept in. `layers` are all of the original's. Raises
    StepError X212 for a file that OpenVINO cannot load.
    """
    from titrant.runtime.backends.openvino.ir import about, precision_of, read
    from titrant.runtime.backends.openvino.library import compiled

    whole = read(model)
    precision, weights = precision_of(whole), about(whole).weights
    ran: list[ExecutedLayer] = []
    for graph in with_bodies(whole):
        # The compiled graph does not show what is inside a loop: its body is compiled as the loop compiles it.
        runs = compiled(graph, model.path.name, precision=precision, threads=threads)
        ran += _of_graph(runs.get_runtime_model(), graph, layers, weights)
    return tuple(ran)


def _of_graph(
    runs: "openvino.Model", graph: "openvino.Model", layers: Collection[str], weights: Mapping[str, str]
) -> Iterator[ExecutedLayer]:
    heavy = dict(precisions_of(runs))
    originals = originals_of(heavy, graph)
    operations = {name for names in originals.values() for name in names if name}
    of_layer = layers_of(operations, layers, weights)
    products = products_of(graph)
    for operation, precision in heavy.items():
        for layer in layers_in(originals[operation], of_layer, products):
            yield ExecutedLayer(layer, operation.get_friendly_name(), precision, said(operation, "layerType"))


def originals_of(heavy: Collection[Any], graph: "openvino.Model") -> dict[Any, list[str]]:
    """Return the operations of a graph that each with weights of the compiled graph computes, by their names."""
    originals = {operation: said(operation, "originalLayersNames").split(",") for operation in heavy}
    _find_split(originals, graph)
    _find_hidden(originals, graph)
    return originals


def products_of(graph: "openvino.Model") -> set[str]:
    """Name the operations of a graph that multiply by weights, or look rows up in them."""
    return {operation.get_friendly_name() for operation in graph.get_ordered_ops() if _multiplies(operation)}


def _multiplies(operation: Any) -> bool:
    return operation.get_type_name() in MULTIPLY


def layers_in(names: Collection[str], of_layer: Mapping[str, str], products: Collection[str]) -> list[str]:
    """Return the layers that one operation computes: kernels of several products in a row or side by side are fused.

    What else is fused into it tells only where no product does. [""] where there is none.
    """
    computed = list(dict.fromkeys(of_layer[name] for name in names if name in of_layer and name in products))
    return computed or [next((of_layer[name] for name in names if name in of_layer), "")]


def _find_split(originals: dict[Any, list[str]], graph: "openvino.Model") -> None:
    """Give what has no known name to the recurrent layers that are missing: one of two directions is split in two."""
    named = {operation.get_friendly_name(): operation.get_type_name() for operation in graph.get_ordered_ops()}
    seen = {name for names in originals.values() for name in names}
    lost = [name for name, kind in named.items() if kind in SEQUENCES and name not in seen]
    unnamed = [
        operation
        for operation, names in originals.items()
        if said(operation, "layerType") in _RECURRENT and named.keys().isdisjoint(names)
    ]
    each = len(unnamed) // len(lost) if lost else 0
    if each and (len(lost) == 1 or len(unnamed) == _DIRECTIONS * len(lost)):
        # Those of stacked layers stand in their order, since each takes the answers of the one before.
        for place, operation in enumerate(unnamed):
            originals[operation] = [lost[place // each]]


def _find_hidden(originals: dict[Any, list[str]], graph: "openvino.Model") -> None:
    """Add to what is called after an operation without weights the product before it: what is fused gives its name."""
    operations = {operation.get_friendly_name(): operation for operation in graph.get_ordered_ops()}
    for names in originals.values():
        at = operations.get(names[0])
        while at is not None and at.get_type_name() not in MULTIPLY and at.get_input_size():
            makers = [value.get_node() for value in at.input_values()]  # a bias may stand before what it is added to
            at = next((maker for maker in makers if maker.get_type_name() != _MADE), makers[0])
        if at is not None and at.get_friendly_name() not in names:
            names.append(at.get_friendly_name())


def precisions_of(runtime: "openvino.Model") -> Iterator[tuple[Any, str]]:
    """Yield the operations of a compiled graph that have weights, each with the precision that it computes in."""
    constant: dict[str, bool] = {}
    for operation in runtime.get_ordered_ops():
        kind = said(operation, "layerType")
        inputs = [port.get_node().get_friendly_name() for port in operation.input_values()]
        constant[operation.get_friendly_name()] = kind == _CONSTANT or (
            kind not in _INPUTS and bool(inputs) and all(constant.get(name, False) for name in inputs)
        )
        place = _WEIGHTED.get(kind)
        if place is None or len(inputs) <= place or not (constant[inputs[place]] or kind in _RECURRENT):
            continue
        weights = operation.input_value(place)
        # What weights are kept in is read where kernels unpack them, what is computed in elsewhere.
        kept = _PRECISIONS.get(weights.get_element_type().get_type_name(), "")
        ran = _PRECISIONS.get(said(operation, "runtimePrecision"), "")
        if kind in _RECURRENT:
            yield operation, ran
        elif kept and weights.get_partial_shape().rank.get_length() >= _LEAST_DIMENSIONS:
            yield operation, kept if kept in _PACKED or kind == "Gather" else ran


def said(operation: Any, key: str) -> str:
    """Return what a compiled operation says of itself under a key; "" where it says nothing."""
    about = operation.get_rt_info()
    return str(about[key].astype(str)) if key in about else ""
