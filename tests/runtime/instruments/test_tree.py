"""Trees of arrays are taken apart and put together again, whatever holds their arrays, of any library."""

import collections
import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn
import numpy as np
import pytest
import torch  # noqa: TID253 - arrays of the tests
from hypothesis import given, settings
from hypothesis import strategies as st

import titrant

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    weight: Any
    note: str = "kept"


@dataclasses.dataclass
class Record:
    x: Any
    y: Any = None
    made: Any = dataclasses.field(init=False, default=7)

    def __post_init__(self):
        self.made = "by its constructor"


class Answer(collections.OrderedDict):
    """A mapping that takes items and refuses `update`, as transformers' answers do."""

    def update(self, *given, **more):
        raise AssertionError("not to be used")


class Rows(list):
    """A list of one's own."""


NUMBERS = st.integers(-3, 3)
ARRAYS = st.one_of(
    NUMBERS.map(lambda number: np.full((2, 1), number, np.float32)),
    NUMBERS.map(lambda number: torch.full((2,), float(number))),
    NUMBERS.map(lambda number: mx.full((2,), number)),
)
OTHERS = st.one_of(st.none(), st.booleans(), NUMBERS, st.just("text"), st.just({1, 2}), st.just(torch.Size((2, 3))))
KEYS = st.one_of(st.text(max_size=3), NUMBERS, st.tuples(NUMBERS, st.booleans()), st.none())


def around(inner):
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(Rows),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3).map(Answer),
        st.dictionaries(KEYS, inner, max_size=3).map(lambda items: collections.defaultdict(list, items)),
        st.tuples(inner, inner).map(lambda items: Pair(*items)),
        inner.map(Frozen),
        st.tuples(inner, inner).map(lambda items: Record(*items)),
    )


TREES = st.recursive(ARRAYS | OTHERS, around, max_leaves=12)


def alike(first, second):
    """Tell whether two trees have the same types, order and values; written apart from the walk that is tested."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(alike(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(alike, first, second))
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first)]
        return all(alike(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, (np.ndarray, torch.Tensor, mx.array)):
        return first.shape == second.shape and bool((first == second).all())
    return first is second or first == second


@settings(max_examples=80)
@given(TREES)
def test_puts_together_what_it_took_apart(tree):
    flat = titrant.tree.flatten(tree)
    assert alike(titrant.tree.unflatten(flat), tree)
    assert len(flat.paths) == len(flat.arrays) == len(set(flat.paths))
    for path, array in zip(flat.paths, flat.arrays, strict=True):
        assert eval(f"tree{path}", {"tree": tree}) is array


@settings(max_examples=40)
@given(TREES)
def test_changes_each_array_and_nothing_else(tree):
    doubled = titrant.tree.map(lambda array: array * 2, tree)
    flat = titrant.tree.flatten(tree)
    assert alike(doubled, titrant.tree.unflatten(flat, [array * 2 for array in flat.arrays]))
    assert titrant.tree.flatten(doubled).paths == flat.paths
    assert alike(titrant.tree.unflatten(flat), tree)  # the given one stayed what it was


@settings(max_examples=40)
@given(TREES)
def test_measures_the_norm_of_all_arrays(tree):
    arrays = {id(array): array for array in titrant.tree.flatten(tree).arrays}.values()
    expected = math.sqrt(sum(float((np.array(array, dtype=np.float64) ** 2).sum()) for array in arrays))
    assert titrant.tree.global_norm(tree) == pytest.approx(expected, rel=1e-6)


def test_keeps_shared_arrays_shared():
    weight, rows = torch.ones(3, 4), [torch.ones(2)]
    calls = []
    changed = titrant.tree.map(
        lambda array: calls.append(array) or array.clone(), {"a": weight, "b": [weight], "c": rows, "d": rows}
    )
    assert changed["a"] is changed["b"][0]
    assert changed["c"] is changed["d"]
    assert len(calls) == 2
    assert titrant.tree.flatten([weight, weight]).paths == ("[0]", "[1]")
    assert titrant.tree.global_norm([weight, weight]) == pytest.approx(math.sqrt(12))


def test_is_quick_where_every_level_holds_the_one_below_twice():
    tree = [np.ones(1)]
    for _ in range(60):
        tree = [tree, tree]
    assert titrant.tree.map(lambda array: array, tree)[0] is not None


def test_names_where_a_tree_holds_itself():
    tree = {"layers": [np.ones(1)]}
    tree["layers"].append(tree)
    for function in (titrant.tree.flatten, titrant.tree.detach, titrant.tree.global_norm):
        with pytest.raises(ValueError, match=r"value\['layers'\]\[1\] is value itself"):
            function(tree)


def test_refuses_what_is_deeper_than_it_can_walk():
    tree = []
    for _ in range(5000):
        tree = [tree]
    with pytest.raises(ValueError, match="more than 200 levels deep"):
        titrant.tree.detach(tree)


def test_cuts_arrays_off_from_their_gradients():
    x = torch.ones(2, requires_grad=True)
    loss = {"loss": x.sum(), "rows": (np.ones(2), mx.ones(2)), "extra": torch.max(x[None], 1)}
    cut = titrant.tree.detach(loss)
    assert not cut["loss"].requires_grad
    assert not cut["extra"].values.requires_grad
    assert type(cut["extra"]) is type(loss["extra"])
    assert loss["loss"].requires_grad
    gradient = mx.grad(lambda x: (titrant.tree.detach({"x": x})["x"] * x).sum())(mx.array([3.0]))
    assert gradient.item() == 3.0


@pytest.mark.parametrize(
    ("tree", "norm"),
    [
        ([], 0.0),
        (None, 0.0),
        (np.empty((0, 3)), 0.0),
        (torch.empty(0), 0.0),
        (mx.zeros((0,)), 0.0),
        (torch.tensor([1e30, 1e30]), math.sqrt(2) * 1e30),  # its square is more than float32 holds
        (torch.full((4,), 6e4, dtype=torch.float16), 1.2e5),
        (mx.full((4,), 6e4, dtype=mx.float16), 1.2e5),
        (mx.array([1e30, 1e30]), math.sqrt(2) * 1e30),
        (np.full(4, 6e4, np.float16), 1.2e5),
        (np.array([1e200, 1e200]), math.sqrt(2) * 1e200),
        (torch.tensor([3.0 + 4.0j]), 5.0),
        (np.array([3.0 + 4.0j]), 5.0),
        (mx.array([3.0 + 4.0j]), 5.0),
        (torch.tensor([3, 4]), 5.0),
        (np.array([3, 4]), 5.0),
        (mx.array([3, 4]), 5.0),
        (torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (4,)), 3.0),
        (torch.eye(4).to_sparse_csr(), 2.0),
        (torch.ones(4).to(torch.float8_e4m3fn), 2.0),
        (torch.tensor([math.inf, 1.0]), math.inf),
        (mx.array([math.inf, 1.0]), math.inf),
    ],
)
def test_measures_norms_of_every_kind_of_number(tree, norm):
    assert titrant.tree.global_norm(tree) == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("array", [torch.tensor([math.nan]), np.array([math.nan]), mx.array([math.nan])])
def test_gives_nan_where_an_array_holds_it(array):
    assert math.isnan(titrant.tree.global_norm({"x": array}))


def test_refuses_norms_of_what_is_no_number():
    with pytest.raises(ValueError, match=r"value\['x'\] has no norm: on the meta device there are no values"):
        titrant.tree.global_norm({"x": torch.empty(2, device="meta")})
    with pytest.raises(ValueError, match="arrays of object hold no numbers"):
        titrant.tree.global_norm(np.array([{}], dtype=object))


def test_passes_modules_through_and_refuses_to_take_one_apart():
    module = torch.nn.Linear(1, 1)
    assert titrant.tree.map(lambda array: None, {"model": module})["model"] is module
    for given_module in (module, mlx.nn.Linear(1, 1)):
        with pytest.raises(TypeError, match="dict"):
            titrant.tree.flatten(given_module)
        with pytest.raises(TypeError, match="dict"):
            titrant.tree.global_norm(given_module)


def test_refuses_another_number_of_arrays():
    with pytest.raises(ValueError, match="the tree has 2 arrays, and 1 were given"):
        titrant.tree.unflatten(titrant.tree.flatten([np.ones(1), np.ones(1)]), [np.ones(1)])


def test_refuses_arguments_in_another_order():
    with pytest.raises(TypeError, match=r"map takes the function first, not a list: map\(function, tree\)"):
        titrant.tree.map([np.ones(1)], lambda array: array)
    with pytest.raises(TypeError, match="unflatten takes what flatten gave, not a list"):
        titrant.tree.unflatten([np.ones(1)])


def test_leaves_torch_and_mlx_where_they_are():
    script = (
        "import sys, numpy, titrant\n"
        "assert titrant.tree.global_norm({'x': numpy.ones(4)}) == 2\n"
        "assert titrant.tree.flatten({'x': numpy.ones(4), 'y': None}).paths == (\"['x']\",)\n"
        "print([name for name in ('torch', 'mlx.core') if name in sys.modules])\n"
    )
    source = Path(titrant.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=source, check=True)
    assert done.stdout == "[]\n"
