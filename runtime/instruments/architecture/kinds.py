"""Kinds of layers: what multiplies, what joins data, what is light, and in which color a box's edge is drawn."""

from collections.abc import Mapping

# A kind's family, by how a name begins once it is in small letters and without "_"; the first that fits.
_BEGINS: Mapping[str, tuple[str, ...]] = {
    "attention": ("multiheadattention", "attention", "scaleddotproduct", "qattention", "groupqueryattention"),
    "recurrent": ("lstm", "gru", "rnn", "dynamicquantizelstm"),
    "product": (
        "conv", "linear", "matmul", "gemm", "qlinearconv", "qlinearmatmul", "fusedconv", "fusedgemm", "fusedmatmul",
        "einsum", "bilinear", "bmm", "mm", "addmm", "baddbmm", "deformconv", "dynamicquantizematmul", "qgemm",
        "nondynamicallyquantizablelinear", "dot", "matmulnbits", "lazyconv", "lazylinear", "embeddingbag", "quantizedlinear",
        "qlinear", "quantizedconv", "groupconvolution", "fullyconnected",
    ),
    "table": ("embedding", "gather", "embedlayernorm"),
    "join": ("add", "iadd", "sub", "mul", "imul", "div", "truediv", "concat", "cat", "sum", "stack", "where", "qlinearadd",
             "qlinearmul", "qlinearconcat", "pow", "max", "min", "skiplayernorm", "skipsimplified"),
    "norm": ("batchnorm", "layernorm", "groupnorm", "instancenorm", "rmsnorm", "syncbatchnorm", "simplifiedlayernorm",
             "localresponse", "lpnorm", "rmsnormalization", "norm", "lrn"),
    "pool": ("maxpool", "avgpool", "averagepool", "adaptive", "globalaverage", "globalmax", "mean", "reducemean",
             "upsample", "resize", "interpolate", "pixelshuffle", "depthtospace", "lppool"),
    "subgraph": ("if", "loop", "scan", "sequencemap"),
}  # fmt: skip
# Words that are no reduction although they begin as a joining does.
_NOT_JOINS = ("maxpool", "minmax", "sumpool", "additive", "maxunpool", "wherenonzero")
# The families that have a color, as a legend names them.
LEGEND: Mapping[str, str] = {
    "product": "product with weights", "attention": "attention", "recurrent": "recurrent", "table": "look-up",
    "subgraph": "control flow",
}  # fmt: skip
_LIGHT = ("norm", "pool", "other")


def family(kind: str) -> str:
    """Return the family of a kind: attention, recurrent, product, table, join, norm, pool, subgraph or other."""
    word = kind.lower().replace("_", "").replace(".", "")
    for name, beginnings in _BEGINS.items():
        if word.startswith(beginnings) and not (name == "join" and word.startswith(_NOT_JOINS)):
            if name == "subgraph" and word not in beginnings:
                continue
            return name
    return "norm" if word.endswith(("norm", "normalization")) else "other"


def is_light(kind: str) -> bool:
    """Tell whether a kind may stand in the box of the layer before it: a norm, an activation, a change of shape."""
    return family(kind) in _LIGHT
