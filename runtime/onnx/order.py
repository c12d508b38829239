"""Order a graph's nodes so that products come as early as they can."""

import heapq

import onnx  # noqa: TID253 - its very subject

from titrant.runtime.onnx.products import WEIGHTED


def products_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Sort the nodes topologically, products before others that are ready, else as they stood.

    onnxruntime's tool decides node by node, and gives a node that only moves values (Slice, Reshape) int8 only where a
    node before it has asked for its input in int8.
    """
    nodes = list(model.graph.node)
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [{producer[name] for name in _reads(node) if name in producer} for node in nodes]
    feeds: list[list[int]] = [[] for _ in nodes]
    for index, wanted in enumerate(needs):
        for source in wanted:
            feeds[source].append(index)
    ready = [_rank(nodes[index], index) for index, wanted in enumerate(needs) if not wanted]
    heapq.heapify(ready)
    order = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for reader in feeds[index]:
            needs[reader].discard(index)
            if not needs[reader]:
                heapq.heappush(ready, _rank(nodes[reader], reader))
    sorted_nodes = [nodes[index] for index in order]
    del model.graph.node[:]
    model.graph.node.extend(sorted_nodes)
    return model


def _rank(node: onnx.NodeProto, index: int) -> tuple[bool, int]:
    return node.op_type not in WEIGHTED, index


def _reads(node: onnx.NodeProto) -> set[str]:
    """Name what a node reads, the graphs inside it included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            for one in inner.node:
                names |= _reads(one)
            names |= {output.name for output in inner.output}
    return names
