"""Nodes of a traced script are named after their modules with what holds them, which nobody calls."""

from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper  # noqa: TID253 - its very subject

from titrant.runtime.backends.onnxruntime.layer_names import layers_by_node
from titrant.runtime.backends.torch.program.scope_names import name_scopes

ways = st.lists(st.sampled_from(["0", "1", "layers", "fc", "enc"]), min_size=1, max_size=5)


def graph(nodes):
    """Write products by name, each with a weight of its own; {node: weight}."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Gemm", ["x", weight], [f"{name}_output"], name=name) for name, weight in nodes.items()],
            "products",
            [],
            [],
            [TensorProto(name=weight, dims=[1, 1], data_type=1) for weight in nodes.values()],
        )
    )


@given(st.lists(ways, min_size=1, max_size=6, unique_by=tuple), st.data())
def test_finds_every_layer_whatever_a_trace_leaves_out(layers, data):
    nodes, names = {}, {}
    for place, way in enumerate(layers):
        said = [part for part in way[:-1] if data.draw(st.booleans())]
        name = "/".join(("", *said, way[-1], f"Gemm_{place}"))
        nodes[name], names[f"Gemm_{place}"] = f"{'.'.join(way)}.weight", ".".join(way)
    model = graph(nodes)
    name_scopes(model, names.values())
    found = layers_by_node(model.graph, names.values())
    assert {node.rpartition("/")[2]: layer for node, layer in found.items()} == names


def test_leaves_a_name_that_says_all_as_it_is():
    nodes = {"/enc/layers.0/fc/Gemm": "enc.layers.0.fc.weight", "/att/MatMul": "att.in_proj_weight", "/Gemm": "w"}
    model = graph(nodes)
    name_scopes(model, ("enc.layers.0.fc", "att", "att.out_proj"))
    assert [node.name for node in model.graph.node] == list(nodes)


def test_names_what_reads_no_such_weight_as_its_neighbors_where_they_agree():
    held = {"/enc/0/fc/Gemm": "enc.layers.0.fc.weight", "/0/conv/Conv": "down.0.conv.weight"}
    held |= {"/0/conv/Conv_1": "up.0.conv.weight"}
    model = graph({**held, "/enc/0/att/MatMul": "onnx::MatMul_7", "/0/conv/Relu": "onnx::Relu_8", "/Relu": "o"})
    name_scopes(model, [weight.removesuffix(".weight") for weight in held.values()])
    assert [node.name for node in model.graph.node] == [
        "/enc/layers.0/fc/Gemm", "/down.0/conv/Conv", "/up.0/conv/Conv_1", "/enc/layers.0/att/MatMul", "/0/conv/Relu",
        "/Relu",
    ]  # fmt: skip
