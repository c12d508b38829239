"""Inputs go to a model by name: whatever their number, order, type, spelling, engine and kind, answers are the same."""

import sys
import tempfile
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx  # noqa: TID253 - the tests build tiny graphs
import onnxruntime  # noqa: TID253 - called by keyword, to compare with
import pytest
import torch  # noqa: TID253 - the tests build tiny modules
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

from titrant.runtime.api import apply
from titrant.runtime.backends.session import open_session
from titrant.runtime.inspect.inspect import inspect
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import RecipeError

ROWS, WIDTH, OUT = 24, 3, 2
SHAPES = {"vector": (), "row": (WIDTH,), "series": (4, WIDTH)}
# Identifiers of Python for forwards; a file may call an input anything.
WORDS = ("emb", "tab", "x", "input_ids", "größe", "特徴", "Features", "y2")
SPELLED = ("emb.0", "in/tab", "x:0", "größe", "特徴 1", "features", "a b", "Emb.0")
ROLES = {"tuning": {"source": 0.5}, "evaluation": {"source": 0.5}}


@dataclass(frozen=True)
class Case:
    """Inputs in the model's own order, and the order in which the data are stored."""

    names: tuple
    shapes: tuple
    dtypes: tuple
    stored: tuple

    def arrays(self):
        drawn = np.random.default_rng(3)
        made = {}
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            size = (ROWS, *SHAPES[shape])
            floats = drawn.normal(size=size).astype("f4")
            made[name] = floats if dtype == "float32" else drawn.integers(0, 5, size)
        return made


def cases(words):
    def of(count):
        fields = st.tuples(st.sampled_from(sorted(SHAPES)), st.sampled_from(("float32", "int64")))
        names = st.lists(st.sampled_from(words), min_size=count, max_size=count, unique=True)
        return st.tuples(names, st.lists(fields, min_size=count, max_size=count), st.permutations(range(count)))

    def build(drawn):
        names, fields, order = drawn
        shapes, dtypes = zip(*fields, strict=True)
        return Case(tuple(names), shapes, dtypes, tuple(names[place] for place in order))

    return st.integers(1, 4).flatmap(of).map(build)


def module_text(case, form):
    """Write a module whose answer changes when any two of its inputs are swapped."""
    options = {"plain": ", ", "keyword": ", *, ", "gap": ", unused=None, "}
    first, *rest = case.names
    arguments = first + (options[form] + ", ".join(rest) if rest else "")
    if form == "gap" and rest:
        arguments = f"{first}, unused=None, " + ", ".join(f"{name}=None" for name in rest)
    terms = " + ".join(
        f"{place + 1}.5 * self.l{place}({name}.float().reshape({name}.shape[0], -1))"
        for place, name in enumerate(case.names)
    )
    layers = "\n".join(
        f"        self.l{place} = nn.Linear({int(np.prod(SHAPES[shape]))}, {OUT})"
        for place, shape in enumerate(case.shapes)
    )
    return (
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"{layers}\n    def forward(self, {arguments}):\n        return {terms}\n"
        "def make():\n    return Net()\n"
        "def traced():\n    return torch.jit.load(traced_file)\n"
        "class Handing(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.net = Net()\n"
        "    def forward(self, **named):\n        return self.net(**named)\n"
        "class Placed(Handing):\n    def forward(self, *tensors):\n        return self.net(*tensors)\n"
    )


def graph_file(case, path):
    """Write an ONNX file with such an answer; inputs of any name, all of them (batch, ...)."""
    drawn = np.random.default_rng(5)
    nodes, weights, inputs = [], [], []
    for place, (name, shape, dtype) in enumerate(zip(case.names, case.shapes, case.dtypes, strict=True)):
        kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.INT64
        inputs.append(helper.make_tensor_value_info(name, kind, ["batch", *SHAPES[shape]]))
        size = int(np.prod(SHAPES[shape]))
        weights.append(numpy_helper.from_array(drawn.normal(size=(size, OUT)).astype("f4"), f"w{place}"))
        nodes.append(helper.make_node("Cast", [name], [f"c{place}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Reshape", [f"c{place}", f"s{place}"], [f"r{place}"]))
        weights.append(numpy_helper.from_array(np.array([-1, size]), f"s{place}"))
        nodes.append(helper.make_node("MatMul", [f"r{place}", f"w{place}"], [f"m{place}"]))
    nodes.append(helper.make_node("Sum", [f"m{place}" for place in range(len(case.names))], ["logits"]))
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", OUT])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def prepared(model, case, folder, *, inputs=None):
    """Inspect a model with the data of a case as a plan does; returns the facts and every row as the model takes it."""
    arrays = case.arrays()
    file = folder / "d.npz"
    np.savez(file, **{name: arrays[name] for name in case.stored})
    load = {"sources": {"source": {"npz": {"path": str(file), "digest": ""}}}}
    transforming = {"task": "unlabeled", **(inputs or {})}
    steps = {"data.load": load, "data.split": {"roles": ROLES}, "data.transform": transforming, **model}
    facts = inspect({"seed": 1, "steps": steps})
    wiring = {"wiring": facts["data"]["wiring"], "model_inputs": facts["data"]["inputs"]}
    whole = {"roles": {"evaluation": {"source": 1.0}}, "by": "order", "stratify": False}
    tables = apply("data.load", {}, load).outputs["tables"]
    split = apply("data.split", {"tables": tables}, whole).outputs["split"]
    done = apply("data.transform", {"tables": tables, "split": split}, {**transforming, **wiring})
    return facts, done.outputs["evaluation"]


def answer(engine, model, rows):
    with open_session(engine, model, threads=1) as session:
        given = session.run({name: rows.inputs[name] for name in session.input_names})
    return next(iter(given.values()))


def install(case, form="plain"):
    name = f"by_name_{abs(hash((case, form)))}"
    made = types.ModuleType(name)
    exec(module_text(case, form), made.__dict__)
    sys.modules[name] = made
    return made


@settings(max_examples=10)
@given(cases(WORDS), st.sampled_from(("plain", "keyword", "gap")), st.sampled_from(("Net", "make")))
def test_passes_to_a_forward_by_name(case, form, factory):
    made = install(case, form)
    with tempfile.TemporaryDirectory() as made_here:
        folder = Path(made_here)
        facts, rows = prepared({"model.load": {"factory": f"{made.__name__}:{factory}"}}, case, folder)
        params = {
            "factory": f"{made.__name__}:{factory}",
            "inputs": facts["model"]["inputs"],
            "outputs": facts["model"]["outputs"],
        }
        model = apply("model.load", {}, params).outputs["model"]
        expected = model.module(**{name: torch.tensor(array) for name, array in keyword(case).items()}).detach().numpy()
        np.testing.assert_allclose(answer("torch", model, rows), expected, atol=1e-5)
        for export, engine in (("export.onnx", "onnxruntime"), ("export.torchscript", "torch")):
            file = apply(export, {"model": model, "example": rows}, scratch=folder).outputs["model"]
            np.testing.assert_allclose(answer(engine, file, rows), expected, atol=1e-4)


def keyword(case):
    """Return the arrays as a caller of the forward has them: a lone column is one number in a row of its own."""
    arrays = case.arrays()
    lone = len(arrays) == 1
    return {
        name: array.reshape(ROWS, 1).astype("f4") if lone and array.ndim == 1 else array
        for name, array in arrays.items()
    }


@settings(max_examples=25)
@given(cases(SPELLED))
def test_passes_to_a_file_by_name(case):
    with tempfile.TemporaryDirectory() as made_here:
        folder = Path(made_here)
        file = graph_file(case, folder / "m.onnx")
        _, rows = prepared({"model.load_onnx": {"onnx": {"path": str(file), "digest": ""}}}, case, folder)
        expected = onnxruntime.InferenceSession(str(file)).run(None, case.arrays())[0]
        np.testing.assert_allclose(answer("onnxruntime", OnnxModel(file), rows), expected, atol=1e-5)


TWO = Case(("emb", "tab"), ("row", "series"), ("float32", "int64"), ("tab", "emb"))


def loaded(factory, facts):
    params = {"factory": factory, "inputs": facts["model"]["inputs"], "outputs": facts["model"]["outputs"]}
    return apply("model.load", {}, params).outputs["model"]


@pytest.mark.parametrize("name", ["traced", "Handing"])
def test_reads_names_from_a_graph_and_hands_them_on(name, tmp_path):
    made = install(TWO)
    example = {word: torch.tensor(array) for word, array in TWO.arrays().items()}
    made.traced_file = str(tmp_path / "traced.pt")
    torch.jit.trace(made.Net().eval(), tuple(example.values())).save(made.traced_file)
    factory = f"{made.__name__}:{name}"
    facts, rows = prepared({"model.load": {"factory": factory}}, TWO, tmp_path)
    model = loaded(factory, facts)
    expected = model.module(**example).detach().numpy()
    np.testing.assert_allclose(answer("torch", model, rows), expected, atol=1e-5)


def test_asks_for_the_order_of_a_forward_without_names(tmp_path):
    made = install(TWO)
    factory = f"{made.__name__}:Placed"
    with pytest.raises(RecipeError, match="does not name its inputs") as caught:
        prepared({"model.load": {"factory": factory}}, TWO, tmp_path)
    assert caught.value.diagnostics[0].code == "X129"
    for order in (("emb", "tab"), ("tab", "emb")):
        stated = {"inputs": list(order), "wiring": [{"name": name, "part": name} for name in order]}
        if order == ("tab", "emb"):  # the order is the recipe's word, and this one does not fit
            with pytest.raises(Exception, match="X156"):
                prepared({"model.load": {"factory": factory}}, TWO, tmp_path, inputs=stated)
            continue
        facts, rows = prepared({"model.load": {"factory": factory}}, TWO, tmp_path, inputs=stated)
        model = loaded(factory, facts)
        tensors = [torch.tensor(TWO.arrays()[name]) for name in order]
        np.testing.assert_allclose(answer("torch", model, rows), model.module(*tensors).detach().numpy(), atol=1e-5)


def test_maps_as_the_recipe_says(tmp_path):
    made = install(TWO)
    factory = f"{made.__name__}:Net"
    arrays = TWO.arrays()
    np.savez(tmp_path / "d.npz", text=arrays["emb"], table=arrays["tab"])
    renamed = Case(("text", "table"), TWO.shapes, TWO.dtypes, ("table", "text"))
    with pytest.raises(RecipeError, match="nothing is called `emb`, `tab`"):
        prepared({"model.load": {"factory": factory}}, renamed, tmp_path)
    stated = {
        "inputs": ["text", "table"],
        "wiring": [{"name": "tab", "part": "table"}, {"name": "emb", "part": "text"}],
    }
    facts, rows = prepared({"model.load": {"factory": factory}}, renamed, tmp_path, inputs=stated)
    model = loaded(factory, facts)
    made = renamed.arrays()
    expected = model.module(emb=torch.tensor(made["text"]), tab=torch.tensor(made["table"])).detach().numpy()
    np.testing.assert_allclose(answer("torch", model, rows), expected, atol=1e-5)
