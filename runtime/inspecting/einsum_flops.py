"""Count the FLOPs of an einsum, two per multiply-add."""

import math
import re
from collections.abc import Iterator, Sequence

Shape = Sequence[int]


def einsum_flops(equation: str, shapes: Sequence[Shape]) -> int:
    """Count the matrix products of `equation` over operands of these shapes, contracted from left to right.

    torch and onnxruntime compute it in this order. A label that only one operand has, and the output has not, is summed
    before the product; a contraction that sums no label is an element-wise product, which counts as zero, as elsewhere.
    Raises ValueError where equation and shapes do not fit.
    """
    terms, output = _terms(equation, shapes)
    sizes: dict[str, int] = {}
    for labels, shape in zip(terms, shapes, strict=True):
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    flops, joined = 0, set(terms[0])
    for place, labels in enumerate(terms[1:], start=2):
        later = set(output).union(*terms[place:])
        left, right = joined & (later | set(labels)), set(labels) & (later | joined)
        joined = left | right
        if joined - later:
            flops += 2 * math.prod(sizes[label] for label in joined)
        joined &= later
    return flops


def _terms(equation: str, shapes: Sequence[Shape]) -> tuple[list[list[str]], list[str]]:
    """Split an equation into the labels of each operand and of the output, an ellipsis into one label a dimension."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    written = given.split(",")
    if len(written) != len(shapes):
        raise ValueError(f"{equation} has {len(written)} operands, and {len(shapes)} are given")
    terms = [list(_labels(term, len(shape))) for term, shape in zip(written, shapes, strict=True)]
    broad = sorted({label for labels in terms for label in labels if label.startswith("-")})
    if not arrow:
        letters = re.sub(r"[.,]", "", given)
        return terms, [*broad, *sorted(letter for letter in set(letters) if letters.count(letter) == 1)]
    return terms, [label for part in re.findall(r"\.\.\.|.", wanted) for label in (broad if part == "..." else [part])]


def _labels(term: str, rank: int) -> Iterator[str]:
    """Yield a term's labels; those of an ellipsis are -1 for its last dimension, -2 for the one before, and so on."""
    before, dots, after = term.partition("...")
    yield from before
    if dots:
        yield from (str(place) for place in range(len(before) + len(after) - rank, 0))
    yield from after
