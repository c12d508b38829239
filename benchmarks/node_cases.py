"""Take every node case of the ONNX standard through inspection, plan, loading and answers, and count.

    python benchmarks/node_cases.py [--match TEXT] [--list]

A case is answered when each output has the case's shape, type and numbers, or those of onnxruntime alone, where that
differs from the standard. Or it is refused, with a code. Exits 1 where one raises anything else, or answers otherwise.
"""

import argparse
import itertools
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx  # noqa: TID253 - its very subject
import onnxruntime  # noqa: TID253 - its very subject
from onnx import helper, numpy_helper  # noqa: TID253 - its very subject

from titrant.compiler.bind.bind import bind
from titrant.compiler.compile import compile_plan
from titrant.compiler.facts.inspect import facts
from titrant.compiler.machine.detect import detect
from titrant.compiler.predict.layer_coverage import coverage
from titrant.runtime.backends import backend
from titrant.runtime.backends.session import open_session
from titrant.runtime.data.parameters import File
from titrant.runtime.inspect.inspect import inspect
from titrant.runtime.inspect.onnx import describe_onnx
from titrant.runtime.operators.model.load_onnx import ModelLoadOnnxParams, load_onnx
from titrant.schema.diagnostics.diagnostics import TitrantError
from titrant.schema.facts import ModelFacts, TensorSpec
from titrant.schema.language.parse import read

RECIPE = """\
titrant: 1
name: node
level: balanced
task: unlabeled
model: {onnx: model.onnx}
data: {source: {npz: rows.npz}, split: {tuning: 0.2, calibration: 0.2, evaluation: 0.6}}
validation: {retention: 0.8}
"""
WRONG = ("raised", "wrong numbers", "described wrongly")


@dataclass(frozen=True)
class Outcome:
    """What came out of a case: a word for it, the stage that it got to, and the reason where it is refused."""

    name: str
    kind: str
    stage: str
    reason: str = ""


def cases(every: int = 1) -> list[Any]:
    """Return the node cases of the installed onnx, or those of every so many of the functions that make them.

    To make all of them takes longer than to answer a sample.
    """
    from onnx.backend.test.case.base import _Exporter
    from onnx.backend.test.case.node import collect_testcases

    makers = itertools.count()

    def make(kind: type, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> None:
        for member in members:
            if member.startswith("export") and next(makers) % every == 0:
                np.random.seed(seed=0)
                getattr(kind, member)()

    with warnings.catch_warnings(), np.errstate(all="ignore"), patch.object(_Exporter, "__init__", make):
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))


class Planner:
    """Plans a graph as if data had arrays for its inputs: rows, and a split, of one recipe that stands for all."""

    def __init__(self, folder: Path) -> None:
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / "model.onnx")
        np.savez(folder / "rows.npz", x=np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32))
        (folder / "recipe.yaml").write_text(RECIPE, "utf-8")
        self._bound = bind(read(folder / "recipe.yaml"))
        self._machine = detect(folder)
        self._facts = facts(self._bound, inspect, folder / "facts")

    def plan(self, params: ModelLoadOnnxParams, inputs: tuple[TensorSpec, ...]) -> None:
        """Inspect the file beside such data, plan it, and say what becomes of its layers."""
        data = replace(self._facts.data, inputs=inputs)
        model = describe_onnx(params, data)
        planned = compile_plan(self._bound, self._machine, model, data, files=self._facts.files)
        coverage(planned, self._bound, self._machine, model)


def outcome(case: Any, folder: Path, planner: Planner) -> Outcome:
    """Take a case through the product; whatever it raises beside its own refusals is an outcome too."""
    file, stage = folder / "model.onnx", "inspect"
    onnx.save(case.model, file)
    params = ModelLoadOnnxParams(onnx=File(path=str(file), digest="0"))
    try:
        described = describe_onnx(params, None)
        stage = "answer"
        given = _given(case)
        session = backend.get("onnxruntime").open(load_onnx(str(file), folder / "loaded"), threads=1)
        answers = session.run(given)
        if not _alike(answers.values(), _expected(case), case) and not _as_engine(file, given, answers.values(), case):
            return Outcome(case.name, "wrong numbers", stage)
        if (problem := _misread(described, answers)) is not None:
            return Outcome(case.name, "described wrongly", stage, problem)
        stage = "plan"
        specs = (TensorSpec(name, ("batch", *array.shape[1:]) if array.ndim else (), str(array.dtype))
                 for name, array in given.items())  # fmt: skip
        planner.plan(params, tuple(specs))
        stage = "rows"
        with open_session("onnxruntime", load_onnx(str(file), folder / "loaded"), threads=1) as by_rows:
            pieces = by_rows.run(_by_rows(given))
        if not _alike(pieces.values(), answers.values(), case):
            return Outcome(case.name, "wrong numbers", stage)
    except TitrantError as error:
        first = error.diagnostics[0]
        return Outcome(case.name, f"refused {first.code}", stage, first.message)
    except Exception as error:  # noqa: BLE001 - a traceback is what is counted
        return Outcome(case.name, "raised", stage, f"{type(error).__name__}: {error}")
    return Outcome(case.name, "answered and planned", stage)


def _given(case: Any) -> dict[str, np.ndarray]:
    names = [value.name for value in case.model.graph.input]
    return {name: _array(value) for name, value in zip(names, case.data_sets[0][0], strict=False)}


def _by_rows(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give an input that is one number a batch as rows have it: the number once a row."""
    rows = max((len(array) for array in given.values() if array.ndim), default=1)
    return {name: array if array.ndim else np.repeat(array, rows) for name, array in given.items()}


def _expected(case: Any) -> list[np.ndarray]:
    return _numbers(_array(value) for value in case.data_sets[0][1])


def _numbers(arrays: Iterable[Any]) -> list[np.ndarray]:
    """Leave out texts, which are no answers that can be judged."""
    return [array for array in arrays if array.dtype.kind not in "OUS"]


def _array(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _alike(answers: Iterable[Any], expected: Iterable[Any], case: Any) -> bool:
    """Compare types, shapes and numbers within the case's own tolerance."""
    for answer, wanted in zip(answers, expected, strict=True):
        if answer.shape != wanted.shape or answer.dtype.kind != wanted.dtype.kind:
            return False
        if not np.allclose(answer, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True):
            return False
    return True


def _as_engine(file: Path, given: dict[str, np.ndarray], answers: Iterable[np.ndarray], case: Any) -> bool:
    """Compare with onnxruntime alone; where that draws random numbers, shapes and types are all that can be equal."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    alone = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]).run(None, given)
    alone, listed = _numbers(alone), list(answers)
    if any(node.op_type == "Dropout" for node in case.model.graph.node):
        return [(one.shape, one.dtype) for one in alone] == [(one.shape, one.dtype) for one in listed]
    return _alike(listed, alone, case)


def _misread(described: ModelFacts, answers: dict[str, np.ndarray]) -> str | None:
    """Say where the shape or type of an output as inspected is not that of the answer."""
    for spec, answer in zip(described.outputs, answers.values(), strict=True):
        sizes = zip(spec.shape, answer.shape, strict=False)
        if len(spec.shape) != answer.ndim or any(isinstance(size, int) and size != real for size, real in sizes):
            return f"{spec.name} is said to be {spec.shape}, and is {answer.shape}"
        if spec.dtype != str(answer.dtype):
            return f"{spec.name} is said to be {spec.dtype}, and is {answer.dtype}"
    return None


def outcomes(chosen: Iterable[Any]) -> Iterator[Outcome]:
    """Take cases through the product, one after another."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "planner").mkdir()
        planner = Planner(folder / "planner")
        for number, case in enumerate(chosen):
            own = folder / str(number)
            (own / "loaded").mkdir(parents=True)
            yield outcome(case, own, planner)


def main() -> None:
    """Count the outcomes, and list those that are wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--match", default="", help="only cases whose name has this in it")
    parser.add_argument("--list", action="store_true", help="print every case with its reason")
    options = parser.parse_args()
    found = list(outcomes(case for case in cases() if options.match in case.name))
    for case in found:
        if options.list or case.kind in WRONG:
            print(f"{case.name}: {case.kind} ({case.stage}) {case.reason}")
    for (kind, stage), count in Counter((case.kind, case.stage) for case in found).most_common():
        print(f"{count:6,}  {kind} ({stage})")
    wrong = sum(case.kind in WRONG for case in found)
    print(f"{len(found):6,}  cases, {wrong} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
