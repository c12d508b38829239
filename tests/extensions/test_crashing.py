"""An engine whose native code ends the process: it loads, makes, opens, answers or is timed, and the others go on."""

import json
import os

import pytest

# Engines in one folder; each takes ONNX files in a box of its own and aborts at one moment.
PACKAGE = '''
import os
import sys

from titrant.runtime.backends.backend import Backend
from titrant.runtime.backends.model_kind import ModelKind, RunCost
from titrant.runtime.catalog import Params, operator
from titrant.runtime.cost.sizes import missing
from titrant.schema.plan import Prediction

COST = RunCost(0.2, 300e-6, 60e-6, 5e-3, 4.0, 4.0, 1.0, 4.0)


def timed():
    """Whether models are being timed."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "time_models":
            return True
        frame = frame.f_back
    return False


class Session:
    """What answers as onnxruntime does, until it aborts."""

    def __init__(self, moment, model, threads):
        from titrant.runtime.backends.onnxruntime.session import open_session
        from titrant.runtime.values import OnnxModel

        if moment == "open":
            os.abort()
        self.inner, self.moment = open_session(OnnxModel(model.path), threads=threads), moment
        self.input_names, self.output_names = self.inner.input_names, self.inner.output_names
        self.fixed_batch = self.inner.fixed_batch

    def run(self, inputs):
        if self.moment == "run" or (self.moment == "timed" and timed()):
            os.abort()
        return self.inner.run(inputs)

    def close(self):
        self.inner.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Box:
    """A file in a box."""

    def __init__(self, moment, path):
        self.kind, self.path = f"{moment}box", path


def backend(moment):
    def save(value, folder):
        (folder / f"model.{moment}box").write_bytes(value.path.read_bytes())

    return Backend(
        name=f"{moment}er",
        packages={"titrant_crashing": "titrant_crashing.native" if moment == "load" else "titrant_crashing"},
        kinds={f"{moment}box": ModelKind(
            name=f"{moment}box", title="a box", label="a box", file=f"model.{moment}box", save=save,
            load=lambda file: Box(moment, file), tensors=lambda file: iter(()), format=f"{moment}box",
            converts={"onnx": f"export.{moment}box"}, snippet="{file} {batch} {decide}",
        )},
        costs={f"{moment}box": COST},
        open=lambda model, *, threads, device="cpu": Session(moment, model, threads),
        executed=lambda model, *, threads=1, **_: (),
        loads={"titrant_crashing": 0.01},
    )


class NoParams(Params):
    """Nothing to choose."""


def exporter(moment):
    @operator(
        f"export.{moment}box", version=1, family="export", params=NoParams, inputs={"model": "onnx"},
        outputs={"model": f"{moment}box"}, requires=lambda params, hardware, model: (),
        predict=lambda params, hardware, model, work=None: Prediction(), loads=("titrant_crashing",),
    )
    def export(params, context, *, model):
        """Put it into a box."""
        if moment == "make":
            os.abort()
        path = context.scratch / f"model.{moment}box"
        path.write_bytes(model.path.read_bytes())
        return {"model": Box(moment, path)}

    return export
'''
RECIPE = """\
titrant: 1
name: crashes
level: balanced
task: unlabeled
model: {onnx: model.onnx}
data:
  source: {npz: rows.npz}
  split: {tuning: 0.2, calibration: 0.1, evaluation: 0.7, stratify: false}
profile: {batches: [1], iterations: 5}
quantization: {method: none}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory, warm):
    """Run a recipe with all these engines beside onnxruntime: what was said, and the run's record."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("crashing")
    info = folder / "site" / "titrant_crashing-1.0.dist-info"
    package = folder / "site" / "titrant_crashing"
    info.mkdir(parents=True)
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE, "utf-8")
    (package / "native.py").write_text("import os\n\nos.abort()\n", "utf-8")
    for moment in MOMENTS:
        for name in (f"BACKEND = backend({moment!r})", f"export_{moment}box = exporter({moment!r})"):
            file = f"{moment}_engine.py" if name.startswith("BACKEND") else f"export_{moment}box.py"
            (package / file).write_text(f"from titrant_crashing import backend, exporter\n\n{name}\n", "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: titrant-crashing\nVersion: 1.0\n", "utf-8")
    engines = "".join(f"{moment}er = titrant_crashing.{moment}_engine\n" for moment in MOMENTS)
    operators = "".join(f"export.{moment}box = titrant_crashing.export_{moment}box\n" for moment in MOMENTS)
    entries = f"[titrant.backends]\n{engines}[titrant.operators]\n{operators}"
    (info / "entry_points.txt").write_text(entries, "utf-8")
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    np.savez(folder / "rows.npz", x=np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32))
    (folder / "crashes.yaml").write_text(RECIPE, "utf-8")
    path = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    environment = {"PYTHONPATH": path, "TITRANT_HOME": str(folder / "home"), "COLUMNS": "300"}
    # A worker begins anew after each crash.
    done = warm("-m", "titrant", "run", "crashes.yaml", cwd=folder, env=environment, starts=8)
    records = list((folder / "home" / "runs").glob("*/record.json"))
    return done, json.loads(records[0].read_text("utf-8")) if records else {}


MOMENTS = {
    "load": "the worker crashed (SIGABRT) in validate.executed",
    "make": "the worker crashed (SIGABRT) in export.makebox",
    "open": "the worker crashed (SIGABRT) in validate.predict",
    "run": "the worker crashed (SIGABRT) in validate.predict",
    "timed": "it could not be timed: the worker crashed (SIGABRT)",
}


def test_releases_what_does_not_crash(ran):
    done, record = ran
    assert done.returncode == 0, done.stdout + done.stderr
    assert record["verdict"] == "PASS"
    (released,) = record["released"]
    assert released in {item["candidate"] for item in record["candidates"] if item["status"] == "released"}
    assert not released.startswith(tuple(MOMENTS))


@pytest.mark.parametrize("moment", MOMENTS)
def test_says_how_each_engine_ended_the_worker(ran, moment):
    done, record = ran
    (crashed,) = [item for item in record["candidates"] if item["candidate"].startswith(f"{moment}box")]
    assert (crashed["status"], crashed["because"]) == ("rejected", MOMENTS[moment])
    assert crashed["candidate"] in done.stdout + done.stderr


def test_says_on_the_console_that_the_timing_is_done_again(ran):
    done, _ = ran
    said = " ".join(done.stderr.split())
    assert "latency: the worker crashed (SIGABRT) while timedbox-fp32 was at work: the step is done again" in said
