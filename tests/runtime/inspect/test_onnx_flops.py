"""FLOPs of ONNX nodes: two per multiply-add as counted by hand, and None rather than a wrong number."""

import pytest
from onnx import TensorProto, helper  # noqa: TID253 - the tests build tiny nodes

from titrant.runtime.inspect.graph.flops import einsum_flops, node_flops

MICROSOFT = "com.microsoft"
# The operator, the shapes of its operands (None: left out), that of its answer, its settings, and the FLOPs by hand.
BY_HAND = {
    "convolution": ("Conv", [(1, 3, 9, 9), (5, 3, 3, 3)], (1, 5, 7, 7), {}, 2 * 5 * 49 * 27),
    "depthwise": ("Conv", [(1, 8, 6, 6), (8, 1, 3, 3), (8,)], (1, 8, 6, 6), {"group": 8}, 2 * 8 * 36 * 9),
    "of integers": ("ConvInteger", [(1, 3, 9, 9), (5, 3, 3, 3)], (1, 5, 7, 7), {}, 2 * 5 * 49 * 27),
    "quantized": ("QLinearConv", [(1, 3, 9, 9), (), (), (5, 3, 3, 3), (5,), (5,), (), ()], (1, 5, 7, 7), {},
                  2 * 5 * 49 * 27),
    "transposed": ("ConvTranspose", [(1, 4, 5, 5), (4, 3, 3, 3)], (1, 6, 10, 10), {"group": 2}, 2 * 4 * 25 * 3 * 9),
    "deformed": ("DeformConv", [(1, 3, 9, 9), (5, 3, 3, 3), (1, 18, 7, 7)], (1, 5, 7, 7), {}, 2 * 5 * 49 * 27),
    "gemm": ("Gemm", [(4, 6), (6, 5), (5,)], (4, 5), {}, 2 * 4 * 5 * 6),
    "gemm, weight turned": ("Gemm", [(4, 6), (5, 6)], (4, 5), {"transB": 1}, 2 * 4 * 5 * 6),
    "gemm, data turned": ("Gemm", [(6, 4), (6, 5)], (4, 5), {"transA": 1}, 2 * 4 * 5 * 6),
    "matrices": ("MatMul", [(4, 6), (6, 5)], (4, 5), {}, 2 * 4 * 5 * 6),
    "broadcast": ("MatMul", [(7, 1, 4, 6), (3, 6, 5)], (7, 3, 4, 5), {}, 2 * 7 * 3 * 4 * 5 * 6),
    "vector left": ("MatMul", [(6,), (2, 6, 5)], (2, 5), {}, 2 * 2 * 5 * 6),
    "vector right": ("MatMul", [(2, 4, 6), (6,)], (2, 4), {}, 2 * 2 * 4 * 6),
    "vectors": ("MatMul", [(6,), (6,)], (), {}, 2 * 6),
    "nothing": ("MatMul", [(0, 6), (6, 5)], (0, 5), {}, 0),
    "integers": ("MatMulInteger", [(4, 6), (6, 5), (), ()], (4, 5), {}, 2 * 4 * 5 * 6),
    "quantized product": ("QLinearMatMul", [(4, 6), (), (), (6, 5), (), (), (), ()], (4, 5), {}, 2 * 4 * 5 * 6),
    "lstm": ("LSTM", [(7, 2, 6), (2, 20, 6), (2, 20, 5), (2, 40)], (7, 2, 2, 5), {}, 2 * 7 * 2 * 2 * 20 * 11),
    "gru": ("GRU", [(7, 1, 6), (1, 15, 6), (1, 15, 5)], (7, 1, 1, 5), {}, 2 * 7 * 15 * 11),
    "rnn": ("RNN", [(1, 7, 6), (1, 5, 6), (1, 5, 5)], (1, 7, 1, 5), {"layout": 1}, 2 * 7 * 5 * 11),
    "einsum": ("Einsum", [(2, 7, 3, 4), (3, 4, 5)], (2, 7, 3, 5), {"equation": "bqhd,hde->bqhe"},
               2 * 2 * 7 * 3 * 4 * 5),
    "attention": ("Attention", [(1, 4, 10, 8), (1, 2, 12, 8), (1, 2, 12, 6)], (1, 4, 10, 6), {},
                  2 * 4 * 10 * 12 * (8 + 6)),
    "attention, flat": ("Attention", [(1, 10, 32), (1, 12, 16), (1, 12, 12)], (1, 10, 24),
                        {"q_num_heads": 4, "kv_num_heads": 2}, 2 * 4 * 10 * 12 * (8 + 6)),
    "attention, with a past": (
        "Attention", [(1, 4, 1, 8), (1, 4, 1, 8), (1, 4, 1, 8), None, (1, 4, 9, 8), (1, 4, 9, 8)], (1, 4, 1, 8), {},
        2 * 4 * 10 * 16,
    ),
    "elementwise": ("Add", [(4, 6), (4, 6)], (4, 6), {}, 0),
    "norm": ("BatchNormalization", [(1, 8, 4, 4), (8,), (8,), (8,), (8,)], (1, 8, 4, 4), {}, 0),
    "lookup": ("Gather", [(10, 4), (3,)], (3, 4), {}, 0),
    "shape unknown to all": ("Relu", [None], None, {}, 0),
}  # fmt: skip
OF_ONNXRUNTIME = {
    "fused": ("FusedConv", [(1, 3, 9, 9), (5, 3, 3, 3)], (1, 5, 7, 7), {}, 2 * 5 * 49 * 27),
    "dynamic": ("DynamicQuantizeMatMul", [(4, 6), (6, 5)], (4, 5), {}, 2 * 4 * 5 * 6),
    "turned": ("FusedMatMul", [(2, 6, 4), (2, 6, 5)], (2, 4, 5), {"transA": 1}, 2 * 2 * 4 * 5 * 6),
    "four bits": ("MatMulNBits", [(4, 64), (5, 2, 16), (10,)], (4, 5), {"K": 64, "N": 5}, 2 * 4 * 5 * 64),
    "attention": ("Attention", [(1, 10, 32), (32, 96), (96,)], (1, 10, 32), {"num_heads": 4},
                  2 * 10 * 32 * 96 + 2 * 10 * 10 * 64),
    "heads": ("MultiHeadAttention", [(1, 10, 32), (1, 12, 32), (1, 12, 24)], (1, 10, 24), {"num_heads": 4},
              2 * 10 * 12 * (32 + 24)),
    "plain": ("Gelu", [(4, 6)], (4, 6), {}, 0),
}  # fmt: skip


def node_and_shapes(operator, given, answer, settings, domain=""):
    names = ["" if shape is None else f"in {place}" for place, shape in enumerate(given)]
    node = helper.make_node(operator, names, ["out"], domain=domain, **settings)
    shapes = {name: shape for name, shape in zip(names, given, strict=True) if name}
    return node, shapes | ({} if answer is None else {"out": answer})


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_as_one_does_by_hand(name):
    *described, expected = BY_HAND[name]
    assert node_flops(*node_and_shapes(*described)) == expected


@pytest.mark.parametrize("name", OF_ONNXRUNTIME)
def test_counts_onnxruntimes_own_operators(name):
    *described, expected = OF_ONNXRUNTIME[name]
    assert node_flops(*node_and_shapes(*described, domain=MICROSOFT)) == expected


@pytest.mark.parametrize(
    ("described", "domain"),
    [
        (("MatMul", [(4, 6), (6, 5)], None, {}), ""),
        (("LSTM", [(7, 2, 6), (2, 20, 6), None], (7, 2, 2, 5), {}), ""),
        (("MatMul", [(4, 6), (6, 5)], (4, 5), {}), "somebody.elses"),
        (("GroupQueryAttention", [(1, 10, 32), (1, 10, 16), (1, 10, 16)], (1, 10, 32), {}), MICROSOFT),
        (("MultiHeadAttention", [(1, 10, 4, 3, 8), None, None], (1, 10, 32), {}), MICROSOFT),
        (("Attention", [(1, 10, 32), (32, 96)], (1, 10, 32), {"past_present_share_buffer": 1}), MICROSOFT),
        (("FusedMatMul", [(6, 2, 4), (2, 6, 5)], (2, 4, 5), {"transA": 1, "transBatchA": 1}), MICROSOFT),
        (("Einsum", [(2, 3), (3, 4)], (2, 4), {"equation": "ij"}), ""),
    ],
)
def test_gives_no_number_where_it_does_not_know(described, domain):
    assert node_flops(*node_and_shapes(*described, domain=domain)) is None


def graph(*operators):
    nodes = [helper.make_node(name, ["x", "w"], [f"y{place}"]) for place, name in enumerate(operators)]
    answer = helper.make_tensor_value_info(f"y{len(nodes) - 1}", TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "body", [], [answer])


SIZES = {"x": (4, 6), "w": (6, 5), "y0": (4, 5), "y1": (4, 5)}


@pytest.mark.parametrize(
    ("operator", "bodies", "expected"),
    [
        ("If", {"then_branch": ("Add",), "else_branch": ("Mul",)}, 0),
        ("If", {"then_branch": ("MatMul",), "else_branch": ("MatMul",)}, 2 * 4 * 5 * 6),
        ("If", {"then_branch": ("MatMul",), "else_branch": ("Add",)}, None),
        ("Loop", {"body": ("Add",)}, 0),
        ("Loop", {"body": ("MatMul",)}, None),
        ("Scan", {"body": ("MatMul",)}, None),
    ],
)
def test_counts_branches_that_cost_alike_and_no_loops(operator, bodies, expected):
    node = helper.make_node(operator, ["c"], ["y"], **{name: graph(*inner) for name, inner in bodies.items()})
    assert node_flops(node, SIZES) == expected


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], 2 * 2 * 3 * 4),
        ("ij,jk", [(2, 3), (3, 4)], 2 * 2 * 3 * 4),
        ("i,j->ij", [(2,), (3,)], 0),
        ("ij,ij->ij", [(2, 3), (2, 3)], 0),
        ("ij,ij->", [(2, 3), (2, 3)], 2 * 6),
        ("ij->ji", [(2, 3)], 0),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)], 2 * 5 * 2 * 3 * 4),
        ("...ij,jk->...ik", [(5, 7, 2, 3), (3, 4)], 2 * 5 * 7 * 2 * 3 * 4),
        ("ija,jk->ik", [(2, 3, 9), (3, 4)], 2 * 2 * 3 * 4),
        ("bi,oij,bj->bo", [(2, 4), (6, 4, 5), (2, 5)], 2 * (2 * 6 * 4 * 5 + 2 * 6 * 5)),
    ],
)
def test_counts_sums_of_products_from_left_to_right(equation, shapes, expected):
    assert einsum_flops(equation, shapes) == expected
