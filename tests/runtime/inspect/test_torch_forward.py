"""FLOPs: two per multiply-add, as counted by hand, with and without values, and as torch counts where it does."""

import contextlib
import importlib
import sys
import types

import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from torch import nn  # noqa: TID253
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: TID253
from torch.utils.flop_counter import FlopCounterMode  # noqa: TID253

from titrant.runtime.backends.torch.determinism import plain_attention, uncompiled
from titrant.runtime.inspect.exported_graph import ExportedGraph, exported_graph
from titrant.runtime.inspect.torch_forward import Uncounted, counter, run_forward
from titrant.schema.facts import TensorSpec


class Attends(nn.Module):
    """One projection and attention of 4 heads, 8 wide: (batch, 10, 32)."""

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(32, 32, bias=False)

    def forward(self, x):
        q = self.q(x).view(x.shape[0], 10, 4, 8).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(q, q, q)


class Does(nn.Module):
    """What a function does with weights of these shapes."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for shape in shapes])

    def forward(self, *inputs):
        return self.function(*inputs, *self.weights)


class Looks(nn.Module):
    """A bag of three of ten embeddings."""

    def __init__(self):
        super().__init__()
        self.table = nn.EmbeddingBag(10, 4)

    def forward(self, x):
        return self.table((x * 0).long())


# What builds it, the shapes of two cases, and the FLOPs of one by hand.
BY_HAND = {
    "linear": (lambda: nn.Linear(30, 7), [(2, 30)], 2 * 30 * 7),
    "linear of places": (lambda: nn.Linear(5, 1), [(2, 4, 5)], 2 * 4 * 5),
    "convolution": (lambda: nn.Conv2d(3, 5, 3, stride=2), [(2, 3, 9, 9)], 2 * 5 * 4 * 4 * 3 * 9),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, padding=1), [(2, 8, 6, 6)], 2 * 8 * 36 * 9),
    "dilated": (lambda: nn.Conv1d(4, 6, 3, dilation=2), [(2, 4, 16)], 2 * 6 * 12 * 4 * 3),
    "solid": (lambda: nn.Conv3d(2, 4, (2, 3, 3), padding=1), [(2, 2, 4, 5, 5)], 2 * 4 * 5 * 25 * 2 * 18),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 3, stride=2), [(2, 3, 8, 8)], 2 * 3 * 64 * 5 * 9),
    "transposed, grouped": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, padding=1, output_padding=1),
        [(2, 4, 5, 5)],
        2 * 4 * 25 * 3 * 9,
    ),
    "attention": (Attends, [(2, 10, 32)], 2 * 10 * 32 * 32 + 2 * 2 * 4 * 10 * 10 * 8),
    "shared heads": (
        lambda: Does(lambda q: nn.functional.scaled_dot_product_attention(q, q[:, :2], q[:, :2], enable_gqa=True)),
        [(2, 4, 6, 8)],
        2 * 2 * 4 * 6 * 6 * 8,
    ),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        [(2, 10, 32)],
        2 * 10 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * 4 * 10 * 10 * 8,
    ),
    "lstm": (lambda: nn.LSTM(32, 16, batch_first=True), [(2, 10, 32)], 10 * 2 * 4 * 16 * (32 + 16)),
    "lstm of two, both ways": (
        lambda: nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True),
        [(2, 7, 6)],
        7 * 2 * 2 * 4 * 5 * (6 + 5 + 10 + 5),
    ),
    "lstm, projected": (
        lambda: nn.LSTM(6, 5, batch_first=True, proj_size=3), [(2, 7, 6)], 7 * 2 * (4 * 5 * (6 + 3) + 5 * 3),
    ),
    "gru": (lambda: nn.GRU(32, 16, batch_first=True), [(2, 10, 32)], 10 * 2 * 3 * 16 * (32 + 16)),
    "rnn": (lambda: nn.RNN(6, 5, batch_first=True), [(2, 7, 6)], 7 * 2 * 5 * (6 + 5)),
    "cell": (lambda: nn.LSTMCell(6, 5), [(2, 6)], 2 * 4 * 5 * (6 + 5)),
    "einsum": (
        lambda: Does(lambda x, w, v: torch.einsum("bqhd,hde,ef->bqhf", x, w, v), (3, 4, 5), (5, 6)),
        [(2, 7, 3, 4)],
        2 * 7 * 3 * (4 * 5 + 5 * 6),
    ),
    "bilinear": (lambda: nn.Bilinear(4, 5, 6), [(2, 4), (2, 5)], 2 * 6 * (4 * 5 + 5)),
    "vector": (lambda: Does(torch.matmul, (5,)), [(2, 4, 5)], 2 * 4 * 5),
    "added vector": (lambda: Does(lambda x, w, b: torch.addmv(b, x, w)[:, None], (5,), (2,)), [(2, 5)], 2 * 5),
    "norm": (lambda: nn.LayerNorm(32), [(2, 10, 32)], 0),
    "bag": (Looks, [(2, 3)], 0),
}  # fmt: skip
# What torch's own counter does not know: as one kernel of the CPU, or at all.
UNKNOWN_TO_TORCH = ("bilinear", "vector", "added vector")


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("mode", ["meta", "real"])
def test_counts_as_one_does_by_hand(name, mode):
    build, shapes, expected = BY_HAND[name]
    place = torch.device("meta") if mode == "meta" else contextlib.nullcontext()
    counting, torchs = counter(), FlopCounterMode(display=False)
    uncounted = Uncounted(counting)
    with place, plain_attention(), torch.no_grad():
        module, inputs = build().eval(), [torch.zeros(*shape) for shape in shapes]
        with uncounted, counting:
            module(*inputs)
        with torchs:
            module(*inputs)
    assert counting.get_total_flops() == 2 * expected
    assert not uncounted.operations
    if mode == "meta" and name not in UNKNOWN_TO_TORCH:
        assert torchs.get_total_flops() == 2 * expected


@pytest.mark.parametrize(
    ("operation", "given", "answer", "expected"),
    [
        ("_cudnn_rnn", [(7, 2, 6), [(20, 6), (20, 5), (20,), (20,)], 4], None, 2 * 7 * 2 * 20 * 11),
        ("_cudnn_rnn", [(9, 6), [(20, 6), (20, 5)], 4], None, 2 * 9 * 20 * 11),
        ("conv_tbc", [(7, 2, 4), (3, 4, 6), (6,), 1], (7, 2, 6), 2 * 7 * 2 * 6 * 3 * 4),
        ("addbmm", [(3, 5), (2, 3, 4), (2, 4, 5)], (3, 5), 2 * 2 * 3 * 4 * 5),
        ("_int_mm", [(3, 4), (4, 5)], (3, 5), 2 * 3 * 4 * 5),
        ("_weight_int8pack_mm", [(3, 4), (5, 4), (5,)], (3, 5), 2 * 3 * 4 * 5),
    ],
)
def test_counts_kernels_of_other_devices_and_widths(operation, given, answer, expected):
    count = counter().flop_registry[getattr(torch.ops.aten, operation)]

    def filled(value):
        if isinstance(value, tuple):
            return torch.zeros(value)
        return [filled(one) for one in value] if isinstance(value, list) else value

    assert count(*filled(given), out_val=None if answer is None else torch.zeros(answer)) == expected


def test_counts_an_embedding_as_nothing():
    counting = counter()
    with counting, torch.device("meta"):
        nn.Embedding(10, 4)(torch.zeros(2, 3, dtype=torch.int64))
    assert counting.get_total_flops() == 0


class Foreign(nn.Module):
    """A layer, and an operation of somebody else's in a module of its own."""

    def __init__(self):
        super().__init__()
        self.known, self.foreign = nn.Linear(3, 3), Does(torch.ops.titrant_tests.turned)

    def forward(self, x):
        return self.foreign(self.known(x))


def test_says_that_flops_are_not_known_where_an_operation_is_not():
    with torch.library._scoped_library("titrant_tests", "DEF") as library:
        library.define("turned(Tensor x) -> Tensor")
        library.impl("turned", lambda x: x + 1, "CompositeExplicitAutograd")
        found = run_forward("Foreign", Foreign().eval(), (TensorSpec("x", ("batch", 3), "float32"),), "")
    assert found.flops is None
    assert found.notes == ("FLOPs are not known: titrant has no count of titrant_tests.turned",)
    assert found.flops_by_module == {"known": 18}


def test_leaves_the_fast_path_as_it_was():
    before = torch.backends.mha.get_fastpath_enabled()
    with plain_attention():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() is before


class ReadsSteps(nn.Module):
    """An LSTM over (batch, steps, 4), and what comes of its last state."""

    def __init__(self):
        super().__init__()
        self.steps, self.out = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.steps(x)[0][:, -1])


def test_counts_a_recurrent_layer_as_one_operation_whatever_its_steps():
    counts = []
    for steps in (3, 30):
        module = ReadsSteps().eval()
        passed = run_forward("m", module, [TensorSpec("x", ("batch", steps, 4), "float32")], "regression")
        counts.append(passed.operations)
        assert not module.steps._forward_hooks
        assert not module.steps._forward_pre_hooks
    assert counts[0] == counts[1] < 6


def test_estimates_no_nodes_for_what_only_brings_operands_into_shape():
    product = ("t", "view", "mm", "_unsafe_view")
    batched = ("expand", "clone", "_unsafe_view", "expand", "view", "bmm", "view")
    assert exported_graph(product, 0, 0, 0).nodes == exported_graph(("mm",), 0, 0, 0).nodes == 2
    assert exported_graph(batched, 0, 0, 0).nodes == exported_graph(("bmm",), 0, 0, 0).nodes == 1
    assert exported_graph(("view", "relu", "select", "mul", "mul"), 5, 7, 0) == ExportedGraph(8, 5, 1, 7, 5)


def test_a_bias_is_a_node_of_its_own_behind_a_view():
    assert exported_graph(("t", "addmm"), 0, 0, 0).file_nodes == 1
    assert exported_graph(("view", "t", "addmm", "view"), 0, 0, 0).file_nodes == 2


class Biased(nn.Module):
    """Adds what it makes of no input: by places, of its own weights, and a row a case."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(40, 4)

    def forward(self, x):
        places = torch.arange(x.shape[1])
        far = (places[None] - places[:, None]).float()
        return x @ far.T + far + self.table(places).sum() + torch.zeros(len(x), 1, 1)


def test_counts_the_bytes_of_what_is_made_of_neither_inputs_nor_weights():
    inputs = [TensorSpec("x", ("batch", 30, 30), "float32")]
    assert run_forward("m", Biased().eval(), inputs, "unlabeled").exported.mask_bytes == 4 * 30 * 30


COMPILER = ("torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy")


class Refused:
    """Finds nothing of torch's compiler, and counts how often it was looked for."""

    looked_for = 0

    def find_spec(self, name, path=None, target=None):
        if name in COMPILER:
            self.looked_for += 1
            raise ModuleNotFoundError(name)


@pytest.fixture
def finder(monkeypatch):
    for name in COMPILER:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(vars(torch), "_dynamo", raising=False)
    refused = Refused()
    monkeypatch.setattr(sys, "meta_path", [refused, *sys.meta_path])
    return refused


def test_runs_what_torch_wraps_without_the_compiler_and_gives_it_to_whoever_asks(finder):
    class Passes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    with uncompiled(), Passes():
        assert torch.ones(2).add(1).tolist() == [2, 2]
    assert finder.looked_for == 0
    assert not set(COMPILER) & set(sys.modules)
    with pytest.raises(ModuleNotFoundError, match="_dynamo"), Passes():  # nothing of it is kept
        torch.ones(2)
    with uncompiled(), pytest.raises(ModuleNotFoundError, match="_dynamo"):
        torch._dynamo.reset()
    with uncompiled(), pytest.raises(ModuleNotFoundError, match="_dynamo"):
        torch.compiler.disable(lambda: None)  # which is to hold for good, as where a user's module is loaded inside


def network():
    return nn.Sequential(
        nn.Embedding(10, 8),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        nn.Unflatten(1, (1, 6)),
        nn.Conv2d(1, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 4),
        nn.Softmax(-1),
    )


def test_looks_at_a_network_without_values_without_the_compiler(finder):
    with uncompiled(), torch.device("meta"), plain_attention():
        seen = run_forward("the network", network().eval(), [TensorSpec("input", ("batch", 6), "int64")], "")
    assert finder.looked_for == 0
    with plain_attention():
        counted = run_forward("the network", network().eval(), [TensorSpec("input", ("batch", 6), "int64")], "")
    assert (seen.outputs, seen.flops) == (counted.outputs, counted.flops)


@pytest.mark.parametrize(
    "ask",
    [
        lambda symbolic, sympy: symbolic.ShapeEnv,
        lambda symbolic, sympy: symbolic.expect_true("symbolic"),
        lambda symbolic, sympy: symbolic.sym_eq([1, "symbolic"], [1, 2]),
        lambda symbolic, sympy: sympy.Symbol,
        lambda symbolic, sympy: isinstance(1, sympy.Basic) or types.new_class("Own", (sympy.Basic,)),
    ],
)
def test_gives_what_knows_symbols_to_whoever_asks_for_more_than_plain_sizes(finder, ask):
    with uncompiled():
        symbolic, sympy = (importlib.import_module(name) for name in COMPILER[1:])
        assert symbolic.sym_eq((2, 3), [2, 3]) is symbolic.sym_or(False, True) is symbolic.expect_true(True) is True
        assert symbolic.sym_and(True, False) is symbolic.guard_or_false(False) is symbolic.is_nested_int(3) is False
        assert finder.looked_for == 0
        with pytest.raises(ModuleNotFoundError, match=r"symbolic_shapes|sympy"):
            ask(symbolic, sympy)
