"""A tiny case for every operator of the catalog, run when something of what it makes is asked for.

Run as a program it prints the artifact digest of every output of some, and how it hashes a text:
`python conformance_cases.py HOME NAME…`.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "report"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@dataclass(frozen=True)
class Case:
    """Parameters, and inputs as port → "operator.port", or name → that for a port that takes many.

    An input may also be a function of what was made.
    """

    params: object = field(default_factory=dict)  # a mapping, or a function of what was made
    inputs: Mapping = field(default_factory=dict)
    cuda: bool = False  # it runs on a CUDA device only
    apart: bool = False  # it takes long, and runs once in tests of its own


READING = {"task": "binary_classification"}
ANSWERS = {"original": "validate.predict:outputs", "candidate": "validate.predict:outputs"}
GATE = {
    "id": "retention.accuracy", "preset": "retention", "metric": "accuracy", "comparison": "retention",
    "threshold": 0.9, "test": "score_ratio",
}  # fmt: skip


def _onnx_file(made):
    from blake3 import blake3

    path = made["export.onnx:model"].path
    return {"onnx": {"path": str(path), "digest": blake3(path.read_bytes()).hexdigest()}}


def _module_file(made):
    from blake3 import blake3

    from titrant.runtime.backends.torch.module import save_torch

    folder = Path(tempfile.mkdtemp())
    save_torch(made["model.load:model"], folder)
    path = folder / "model.safetensors"
    return {"module": {"path": str(path), "digest": blake3(path.read_bytes()).hexdigest()}}


def _ir_files(made):
    from blake3 import blake3

    folder = made["export.openvino:model"].folder
    files = {"graph": folder / "model.xml", "weights": folder / "model.bin"}
    return {name: {"path": str(path), "digest": blake3(path.read_bytes()).hexdigest()} for name, path in files.items()}


def _torch_file(made, form):
    from blake3 import blake3

    path = made[f"export.{form}:model"].path
    specs = {"inputs": [{"name": "image", "shape": ["batch", 1, 6, 6]}], "outputs": [{"name": "logits"}]}
    return {form: {"path": str(path), "digest": blake3(path.read_bytes()).hexdigest()}, **specs}


def _regions(*figures):
    return [{"name": f"block{place}", "layers": [f"block{place}.conv"], **each} for place, each in enumerate(figures)]


def _prices(made):
    figures = {"fp32": 3e-4, "int8": 1e-4}
    edge = {"from": "block0", "to": ["block1"], "quantize": 1e-5, "dequantize": 1e-5}
    whole = {"batch": 1, "fp32": 6e-4, "int8": 2e-4, "mixes": [], "predicted": True, "refused": []}
    return {"regions": _regions(figures, figures), "edges": [edge], "rest": 0.0, **whole}


def _labels_file(made):
    from titrant.runtime.data.row_labels import LABEL, ROW, names_of

    names = names_of(made["data.unlabeled:tables"].sources["names"].columns["content"], bytes(32))
    path = Path(tempfile.mkdtemp()) / "labels.csv"
    path.write_text(f"{ROW},{LABEL}\n{names[2]},1\n")
    return {"file": {"path": str(path), "digest": "of the labels"}}


# The kinds of devices on which the cases are run.
DEVICES = ("cpu",)


def _wide(made):
    """A model whose rows are whole groups of 64."""
    import torch
    from operator_nets import TinyNet

    torch.manual_seed(7)
    model = made["model.load:model"]
    return replace(model, module=TinyNet(channels=64).eval(), args={"channels": 64})


def _deep(made):
    """A model with a layer wide enough that two thinner ones pay for it, on the cases' images."""
    import torch
    from operator_nets import WideHead

    torch.manual_seed(5)
    model = made["model.load:model"]
    return replace(model, module=WideHead().eval(), factory="operator_nets:WideHead", args={})


def _attending(made):
    """A model whose attention is fused, on the cases' images."""
    import torch
    from operator_nets import AttendingRows

    torch.manual_seed(5)
    model = made["model.load:model"]
    return replace(model, module=AttendingRows().eval(), factory="operator_nets:AttendingRows", args={})


# In an order in which each can take what those before it gave.
CASES = {
    "data.load": Case({"sources": {"source": {"factory": "operator_nets:images"}}, "label": "bright"}),
    "data.split": Case(
        {
            "roles": {role: {"source": 0.25} for role in ("train", "tuning", "calibration", "evaluation")},
            "label": "bright",
        },
        {"tables": "data.load:tables"},
    ),
    "data.transform": Case(
        {**READING, "label": "bright", "positive": 1}, {"tables": "data.load:tables", "split": "data.split:split"}
    ),
    "data.unlabeled": Case(
        {"source": {"factory": "operator_nets:further_images"}},
        {
            "tables": "data.load:tables",
            "split": "data.split:split",
            "transforms": "data.transform:transforms",
            "rows": "data.transform:tuning",
        },
    ),
    "data.labels": Case(_labels_file, {"tables": "data.unlabeled:tables", "rows": "data.transform:tuning"}),
    "data.raw": Case(
        {},
        {"tables": "data.load:tables", "split": "data.split:split", "transforms": "data.transform:transforms"},
    ),
    "model.load": Case(
        {
            "factory": "operator_nets:TinyNet",
            "inputs": [{"name": "image", "shape": ["batch", 1, 6, 6]}],
            "outputs": [{"name": "logits"}],
        }
    ),
    "train.fit": Case(
        {"epochs": 2, "batch_size": 8},
        {"model": "model.load:model", "train": "data.transform:train", "tuning": "data.transform:tuning"},
    ),
    "train.quantization_aware": Case(
        {"epochs": 2, "batch_size": 8, "every": 3},
        {
            "model": "model.load:model",
            "train": "data.transform:train",
            "tuning": "data.transform:tuning",
            "calibration": "data.transform:calibration",
        },
    ),
    "distill.fit": Case(
        {"epochs": 2, "batch_size": 8},
        {
            "model": "model.load:model",
            "teacher": "train.fit:model",
            "train": "data.transform:train",
            "tuning": "data.transform:tuning",
        },
    ),
    "prune.blocks": Case({"blocks": 1}, {"model": "net:blocks", "tuning": "data.transform:tuning"}),
    "prune.magnitude": Case({}, {"model": "model.load:model"}),
    "prune.n_m": Case({}, {"model": "net:layers"}),
    "prune.activation": Case({}, {"model": "model.load:model", "calibration": "data.transform:calibration"}),
    "prune.gradual": Case(
        {"epochs": 2, "batch_size": 8},
        {"model": "model.load:model", "train": "data.transform:train", "tuning": "data.transform:tuning"},
    ),
    "validate.reduced": Case(
        {"check": "operator_nets:keeps_enough"}, {"model": "prune.blocks:model", "tuning": "data.transform:tuning"}
    ),
    "factorize.svd": Case({"rank": 12}, {"model": _deep, "calibration": "data.transform:calibration"}),
    "prune.structured": Case(
        {"sparsity": 0.6, "round_to": 2}, {"model": "model.load:model", "tuning": "data.transform:tuning"}
    ),
    "model.fuse": Case({}, {"model": "model.load:model"}),
    "model.layout": Case({}, {"model": "model.load:model"}),
    "model.fold": Case({}, {"model": "model.load:model"}),
    "model.cast": Case({"emulated": True}, {"model": "model.load:model"}),
    "export.onnx": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "export.inside": Case(
        {},
        {
            "model": "export.onnx:model",
            "transforms": "data.transform:transforms",
            "example": "data.transform:tuning",
            "raw": "data.raw:tuning",
        },
    ),
    "export.torchscript": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "export.external_data": Case({}, {"model": "export.onnx:model"}),
    "export.mlx": Case({}, {"model": "model.load:model"}),
    "model.load_onnx": Case(_onnx_file),
    "quantize.torch_dynamic": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "quantize.bnb_int8": Case({}, {"model": "model.load:model"}),
    "quantize.bnb_nf4": Case({}, {"model": "model.load:model"}),
    "quantize.bnb_fp4": Case({"double_quantization": False}, {"model": "model.load:model"}),
    "quantize.mlx_affine": Case({}, {"model": _wide}),
    "export.exported": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "export.aoti": Case({}, {"model": "export.exported:model", "example": "data.transform:tuning"}, apart=True),
    "quantize.torchao_pt2e": Case(
        {}, {"model": "export.exported:model", "calibration": "data.transform:calibration"}, apart=True
    ),
    "model.load_exported": Case(lambda made: _torch_file(made, "exported")),
    "model.load_torchscript": Case(lambda made: _torch_file(made, "torchscript")),
    "quantize.torchao_int8_weight_only": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "quantize.torchao_int8_dynamic": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}),
    "quantize.torchao_int4": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}, cuda=True),
    "quantize.torchao_fp8": Case({}, {"model": "model.load:model", "example": "data.transform:tuning"}, cuda=True),
    "quantize.ort_dynamic": Case({}, {"model": "export.onnx:model"}),
    "quantize.ort_nbits": Case({}, {"model": "wide:model"}),
    "quantize.equalize": Case({}, {"model": "export.onnx:model"}),
    "quantize.smoothquant": Case({}, {"model": "net:layers", "calibration": "data.transform:calibration"}),
    "quantize.ort_static": Case({}, {"model": "export.onnx:model", "calibration": "data.transform:calibration"}),
    "quantize.bias_correction": Case(
        {},
        {
            "model": "quantize.ort_static:model",
            "float": "export.onnx:model",
            "calibration": "data.transform:calibration",
        },
    ),
    "export.openvino": Case({}, {"model": "export.onnx:model", "example": "data.transform:tuning"}),
    "model.load_openvino": Case(_ir_files),
    "model.load_module": Case(_module_file),
    "quantize.openvino_bf16": Case({}, {"model": "export.onnx:model"}),
    "quantize.openvino_ptq": Case({}, {"model": "export.onnx:model", "calibration": "data.transform:calibration"}),
    "quantize.openvino_weights": Case({}, {"model": "export.onnx:model"}),
    "validate.predict": Case(
        {"engine": "onnxruntime"}, {"model": "export.onnx:model", "rows": "data.transform:tuning"}
    ),
    "validate.decode": Case(
        {"decode": "operator_nets:one_box"},
        {"outputs": "validate.predict:outputs", "rows": "data.transform:tuning"},
    ),
    "inspect.plots": Case(
        {"functions": ["operator_nets:largest"], "engine": "onnxruntime"},
        {"model": "export.onnx:model", "rows": "data.transform:tuning"},
    ),
    "validate.repeats": Case(
        {"engine": "onnxruntime"}, {"model": "export.onnx:model", "rows": "data.transform:tuning"}
    ),
    "validate.executed": Case(
        {"engine": "onnxruntime", "layers": ["net.0"], "planned": ["fp32"]}, {"model": "export.onnx:model"}
    ),
    "validate.operating_point": Case(
        {**READING, "threshold": 0.5}, {"rows": "data.transform:tuning", "outputs": "validate.predict:outputs"}
    ),
    "validate.batch_invariance": Case(
        {**READING, "engine": "onnxruntime"},
        {
            "model": "export.onnx:model",
            "rows": "data.transform:tuning",
            "outputs": "validate.predict:outputs",
            "point": "validate.operating_point:point",
        },
    ),
    "validate.reference": Case(
        READING,
        {
            "rows": "data.transform:tuning",
            "outputs": "validate.predict:outputs",
            "point": "validate.operating_point:point",
        },
    ),
    "validate.measure": Case(
        READING, {"rows": "data.transform:tuning", **ANSWERS, "point": "validate.operating_point:point"}
    ),
    "sensitivity.fisher": Case(
        {**READING, "layers": ["convolution", "linear"]},
        {
            "model": "export.onnx:model",
            "module": "model.load:model",
            "calibration": "data.transform:calibration",
            "tuning": "data.transform:tuning",
        },
    ),
    "sensitivity.regions": Case(
        {**READING, "layers": ["convolution", "linear"], "check": True},
        {
            "model": "export.onnx:model",
            "calibration": "data.transform:calibration",
            "tuning": "data.transform:tuning",
        },
    ),
    "profile.regions": Case(
        {"layers": ["convolution", "linear"], "seconds": 0.01},
        {"model": "export.onnx:model", "calibration": "data.transform:calibration"},
    ),
    "quantize.allocate": Case(
        {"retention": 0.9, "uniform": ["static"]},
        {
            "sensitivity": lambda made: {"regions": _regions({"kl": 0.1}, {"kl": 0.02}), "whole": 0.3, "rows": 8},
            "prices": _prices,
            "tried": lambda made: {"static": {"pairs": {"both": 60, "lost": 30, "gained": 2, "neither": 8}}},
        },
    ),
    "inspect.summary": Case({}, {"model": "model.load:model"}),
    "inspect.health": Case({"rows": 8}, {"model": "export.onnx:model", "rows": "data.transform:tuning"}),
    "inspect.attention": Case({"rows": 4}, {"model": _attending, "rows": "data.transform:tuning"}),
    "profile.layers": Case(
        {"engine": "onnxruntime", "seconds": 0.001, "limits": False, "layers": {"conv": "Conv2d"}},
        {"model": "quantize.ort_static:model", "rows": "data.transform:tuning"},
    ),
    "profile.latency": Case(
        {"engines": {"original": "torch", "static": "onnxruntime"}, "batches": [1], "iterations": 3},
        {
            "models": {"original": "model.load:model", "static": "quantize.ort_static:model"},
            "rows": "data.transform:tuning",
        },
    ),
    "validate.contract": Case(
        {**READING, "candidate": "static", "gates": [GATE]},
        {
            "rows": "data.transform:tuning",
            **ANSWERS,
            "point": "validate.operating_point:point",
            "timings": "profile.latency:timings",
            "model": "quantize.ort_static:model",
        },
    ),
    "report.render": Case({}, {"record": "record:record"}),
}


def add_what_is_installed():
    """Add a case for every operator that an installed package brings: its defaults, on what some case makes."""
    from titrant.runtime import catalog

    waiting = [name for name in catalog.names() if name not in CASES]
    while waiting:
        made = {kind: f"{name}:{port}" for name in reversed(CASES) for port, kind in catalog.get(name).outputs.items()}
        made |= {"rows": "data.transform:tuning"}
        ready = [name for name in waiting if kinds_of(name) <= {*made}]
        assert ready, f"no case makes what {waiting} take"
        for name in ready:
            ports = catalog.get(name).inputs
            CASES[name] = Case({}, {port: made[taken.kinds[0]] for port, taken in ports.items() if not taken.optional})
            waiting.remove(name)


def runs_here(name):
    """Whether an operator runs here, on this machine; its declaration is looked at in any case."""
    import torch

    return not CASES[name].apart and (not CASES[name].cuda or torch.cuda.is_available())


def kinds_of(name):
    """The first kind of every input that an operator needs."""
    from titrant.runtime import catalog

    return {port.kinds[0] for port in catalog.get(name).inputs.values() if not port.optional}


def record():
    """The record that a report is made of."""
    from report_records import released

    return json.loads(json.dumps(released()))


def wide():
    """A file with a matrix product of more inputs than the small model has."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    from titrant.runtime.values import OnnxModel

    weight = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    x, y = (helper.make_tensor_value_info(name, 1, ["batch", size]) for name, size in (("x", 64), ("y", 8)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    graph = helper.make_graph([node], "wide", [x], [y], [numpy_helper.from_array(weight, "w")])
    path = Path(tempfile.mkdtemp()) / "wide.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return OnnxModel(path)


def network(name):
    """A model that takes the rows of the cases, for what needs more than one layer, or blocks."""
    import torch

    from titrant.runtime.backends.torch.factory import build, source_digest
    from titrant.runtime.values import TorchModel

    factory = f"operator_nets:{name}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = build(factory, {}).eval()
    inputs = (("image", ("batch", 1, 6, 6), "float32"),)
    return TorchModel(module, factory, {}, source_digest(factory), inputs, ("logits",))


def params_of(name, made):
    """The case's parameters, checked as the worker checks them."""
    from titrant.runtime import catalog
    from titrant.schema.values.canonical import canonical_json

    given = CASES[name].params
    given = given(made) if callable(given) else given
    return catalog.get(name).params.model_validate_json(canonical_json(given))


def inputs_of(name, made):
    """The case's inputs as live values."""

    def find(place):
        if callable(place):
            return place(made)
        return made[place] if isinstance(place, str) else {key: made[one] for key, one in place.items()}

    return {port: find(place) for port, place in CASES[name].inputs.items()}


def run(name, made, scratch):
    """Run one case and return its outputs; what it consumes is a copy."""
    import copy

    from titrant.runtime import catalog
    from titrant.runtime.api import apply

    inputs = inputs_of(name, made)
    for port in catalog.get(name).consumes:
        inputs[port] = copy.deepcopy(inputs[port])
    scratch.mkdir(parents=True)
    return apply(name, inputs, params_of(name, made), seed=7, scratch=scratch).outputs


class Made(dict):
    """What the cases make, {"operator:port": value}: each runs once, when something of it is first asked for."""

    def __init__(self, scratch):
        nets = {"net:layers": network("Flattened"), "net:blocks": network("ResidualBlocks")}
        super().__init__({"record:record": record(), "wide:model": wide(), **nets})
        self._scratch, self._ran = scratch, set()

    def __missing__(self, place):
        outputs = self.of(place.partition(":")[0])
        return outputs[place.partition(":")[2]]

    def of(self, name):
        """Return what one case makes, by port; nothing of one that does not run here."""
        if name not in self._ran and name in CASES and runs_here(name):
            outputs = run(name, self, self._scratch / name)
            self.update({f"{name}:{port}": value for port, value in outputs.items()})
            self._ran.add(name)
        return {place.partition(":")[2]: value for place, value in self.items() if place.startswith(f"{name}:")}


def digests(made, home):
    """Put every output in a store: {"operator:port": digest}."""
    from titrant.runtime import catalog
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.store.home import open_home

    store = Store(open_home(home))
    return {
        place: store.put(catalog.get(place.partition(":")[0]).outputs[place.partition(":")[2]], value).digest
        for place, value in made.items()
        if place.partition(":")[0] in CASES
    }


add_what_is_installed()

if __name__ == "__main__":
    folder, made = Path(sys.argv[1]), Made(Path(sys.argv[1]) / "scratch")
    asked = {f"{name}:{port}": value for name in sys.argv[2:] for port, value in made.of(name).items()}
    print(json.dumps({"hash": hash("titrant"), **digests(asked, folder / "home")}))
