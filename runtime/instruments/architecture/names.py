"""What is said of a layer: the family of its kind, the blocks by its name, its kernel and widths."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

# A kind's family, by how a name begins once it is in small letters and without "_"; the first that fits.
_BEGINS: Mapping[str, tuple[str, ...]] = {
    "attention": ("multiheadattention", "attention", "scaleddotproduct", "qattention", "groupqueryattention"),
    "recurrent": ("lstm", "gru", "rnn", "dynamicquantizelstm"),
    "product": (
        "conv", "linear", "matmul", "gemm", "qlinearconv", "qlinearmatmul", "fusedconv", "fusedgemm", "fusedmatmul",
        "einsum", "bilinear", "bmm", "mm", "addmm", "baddbmm", "deformconv", "dynamicquantizematmul", "qgemm",
        "nondynamicallyquantizablelinear", "dot", "matmulnbits", "lazyconv", "lazylinear",
        "embeddingbag", "quantizedlinear",
        "qlinear", "quantizedconv", "groupconvolution", "fullyconnected",
    ),
    "table": ("embedding", "gather", "embedlayernorm"),
    "join": ("add", "iadd", "sub", "mul", "imul", "div", "truediv", "concat", "cat", "sum", "stack", "where",
             "qlinearadd", "qlinearmul", "qlinearconcat", "pow", "max", "min", "skiplayernorm", "skipsimplified"),
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


@cache
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


def scope_path(scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the path of nested modules, each named by its whole path with dots."""
    last = next((scope for scope in reversed(scopes) if scope), "")
    return tuple(last.split(".")) if last else ()


def name_path(name: str) -> tuple[str, ...] | None:
    """Return the blocks that a name puts a node in, as "/layer1/layer1.0/conv1/Conv" does; None where it says none."""
    parts = [part for part in name.split("/") if part]
    if len(parts) < 2 and "/" not in name:
        parts = name.split(".")
    if len(parts) < 2:
        return None if not name.startswith("/") else ()
    path = parts[:-1]
    for place in range(len(path) - 1, 0, -1):
        above = path[place - 1]
        if path[place].startswith(f"{above}."):
            path[place] = path[place][len(above) + 1 :]
    return tuple(path)


def filled(paths: Sequence[tuple[str, ...] | None]) -> Iterator[tuple[str, ...]]:
    """Put a node whose name says nothing into the blocks that the nodes before and after it have in common."""
    after: list[tuple[str, ...]] = []
    coming: tuple[str, ...] = ()
    for path in reversed(paths):
        coming = path if path is not None else coming
        after.append(coming)
    before: tuple[str, ...] = ()
    for path, ahead in zip(paths, reversed(after), strict=True):
        if path is not None:
            before = path
            yield path
            continue
        same = 0
        while same < min(len(before), len(ahead)) and before[same] == ahead[same]:
            same += 1
        yield before[:same]


def convolution(shape: Sequence[int], strides: Sequence[int], groups: int, *, transposed: bool = False) -> str:
    """Write the kernel, channels, stride and groups of a convolution, as "3×3 16→32 /2"."""
    outer, inner, *kernel = shape
    come, go = (outer, inner * groups) if transposed else (inner * groups, outer)
    stride = f" /{max(strides)}" if strides and max(strides) > 1 else ""
    grouped = "" if groups == 1 else " depthwise" if groups == come else f" groups {groups}"
    return f"{'×'.join(map(str, kernel))} {come}→{go}{stride}{grouped}"


def weight_detail(kind: str, shape: Sequence[int], groups: int = 1) -> str:
    """Say what a layer of torch's is by the shape of its weight: a kernel and channels, widths, or the shape."""
    if len(shape) > 2 and "conv" in kind.lower():
        return convolution(shape, (), groups, transposed="transpose" in kind.lower())
    if len(shape) == 2:
        return f"{shape[0]}→{shape[1]}" if family(kind) == "table" else f"{shape[1]}→{shape[0]}"
    return "×".join(map(str, shape)) if len(shape) > 1 else ""


def short_count(number: int) -> str:
    """Write a number in three digits, as "1.28 M"."""
    for limit, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {letter}"
    return str(number)
