"""Trees of arrays: change, take apart, put together and measure what containers hold.

A tree is a dict, list, tuple, named tuple or dataclass (frozen too), or what derives from dict or list, at any depth;
its arrays are those of torch, NumPy and MLX. Anything else in it, a module too, is passed through as it is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from titrant.runtime.arrays.libraries import is_array, is_module, library_of, together
from titrant.runtime.arrays.library import ArrayLibrary
from titrant.runtime.arrays.walk import changed, leaves

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class FlatTree:
    """A tree taken apart: its arrays in order, the path of each, and what is left, for `unflatten`.

    A path is how Python reaches the array from the tree: `['encoder'][0].weight`; "" for the tree itself.
    """

    paths: tuple[str, ...]
    arrays: tuple[Any, ...]
    rest: Any


@dataclass(frozen=True)
class _Place:
    """Stands where an array was."""

    number: int


def map(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a copy of a tree with `function(array)` in place of each array.

    Order, types and keys stay; containers are copied, and the given ones are not changed. An array that stands in
    several places is given once, and its result stands in all of them. Raises ValueError, with the path, for a tree
    that holds itself or has more than 200 levels, TypeError where `function` is none: it stands before the tree.
    """
    if not callable(function):
        raise TypeError(f"map takes the function first, not a {type(function).__name__}: map(function, tree)")
    result: Tree = changed(tree, lambda leaf: function(leaf) if is_array(leaf) else leaf, _is_leaf)
    return result


def flatten(tree: Any) -> FlatTree:
    """Take a tree apart into its arrays and their paths, one of each for every place; raises as `map`.

    Raises TypeError for a module, which is no tree.
    """
    _refuse_module(tree)
    paths: list[str] = []
    arrays: list[Any] = []
    for path, leaf in leaves(tree, _is_leaf):
        if is_array(leaf):
            paths.append(path)
            arrays.append(leaf)
    numbers = iter(range(len(arrays)))
    rest = changed(tree, lambda leaf: _Place(next(numbers)) if is_array(leaf) else leaf, _is_leaf, share=False)
    return FlatTree(tuple(paths), tuple(arrays), rest)


def unflatten(flat: FlatTree, arrays: Sequence[Any] | None = None) -> Any:
    """Put a tree together again, with other `arrays` in the same order where they are given.

    Raises ValueError for another number of them, TypeError for what `flatten` did not give.
    """
    if not isinstance(flat, FlatTree):
        raise TypeError(f"unflatten takes what flatten gave, not a {type(flat).__name__}: unflatten(flatten(tree))")
    given = flat.arrays if arrays is None else tuple(arrays)
    if len(given) != len(flat.paths):
        raise ValueError(f"the tree has {len(flat.paths)} arrays, and {len(given)} were given")

    def put(leaf: Any) -> Any:
        return given[leaf.number] if isinstance(leaf, _Place) else leaf

    return changed(flat.rest, put, lambda leaf: isinstance(leaf, _Place) or _is_leaf(leaf), share=False)


def detach(tree: Tree) -> Tree:
    """Return a copy of a tree whose arrays are cut off from the graph that gradients flow through.

    Values are shared with the given ones. NumPy's arrays have no graph, and stay as they are; raises as `map`.
    """
    return map(_detached, tree)


def _detached(array: Any) -> Any:
    library = library_of(array)
    assert library is not None
    return library.detach(array)


def global_norm(tree: Any) -> float:
    """Return the L2 norm of all arrays together, as of gradients; an array that stands in several places counts once.

    Computed in single precision at least, with one transfer a device; 0 where there is no array, NaN or infinity
    where an array holds one. Raises ValueError for arrays that hold no numbers, and as `flatten`.
    """
    _refuse_module(tree)
    arrays = {id(leaf): (path, leaf) for path, leaf in leaves(tree, _is_leaf) if is_array(leaf)}
    for path, array in arrays.values():
        library = library_of(array)
        assert library is not None
        if unread := library.form(array).unread:
            raise ValueError(f"value{path} has no norm: {unread}")
    norms = together([array for _, array in arrays.values()], _norms)
    return math.hypot(*norms)


def _norms(library: ArrayLibrary, arrays: Sequence[Any]) -> list[float]:
    return library.norms(arrays)


def _is_leaf(value: Any) -> bool:
    return library_of(value) is not None


def _refuse_module(tree: Any) -> None:
    if is_module(tree):
        raise TypeError("a module is no tree: give its arrays, as dict(model.named_parameters()) or model.parameters()")
