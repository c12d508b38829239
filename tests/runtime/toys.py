"""Tiny operators of a user's own module: enough to walk a plan from data to release within milliseconds."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import toy_numbers
from pydantic import Field

from titrant.runtime.catalog import Params, Port, operator
from titrant.runtime.values import ReportFiles
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError


def ran(name):
    """Count the executions of a step where the test can see them."""
    # Not by its name: each test has a log of its own, which no result depends on.
    with Path(dict(os.environ)["TOY_LOG"]).open("a") as log:
        log.write(f"{name}\n")


class LoadParams(Params):
    number: int = 1
    file: dict | None = None
    opens: str | None = None
    until: str = ""  # wait for this file once `opens` was read
    lists: str | None = None


@operator("toy.load", version=1, family="toy", params=LoadParams, inputs={},
          outputs={"model": "value", "rows": "value", "point": "value"}, user_code=True)  # fmt: skip
def load(params, context):
    """Load."""
    ran("load")
    number = params.number
    if params.opens:
        number += int(Path(params.opens).read_text())
        context.measure("read", number)
    while params.until and not Path(params.until).exists():
        time.sleep(0.02)
    if params.lists:
        number += len(list(Path(params.lists).iterdir()))
    context.measure("number", number)
    rows = {"number": number, "draw": float(context.generator.random()), "plus": toy_numbers.PLUS}
    return {"model": {"level": 0}, "rows": rows, "point": {"kind": "argmax", "threshold": None, "source": "toy"}}


class MakeParams(Params):
    level: int = 0
    do: str = ""
    padding: int = 0
    seconds: float = 0.0
    until: str = ""  # wait for this file
    saves: bool = False  # save, and die the first time
    checkpoints: bool = False


@operator("toy.make", version=1, family="toy", params=MakeParams, outputs={"model": "value"},
          inputs={"model": "value", "allocation": Port(("value",), optional=True)})  # fmt: skip
def make(params, context, *, model, allocation=None):
    """Make."""
    ran(f"make {params.level}")
    time.sleep(params.seconds)
    while params.until and not Path(params.until).exists():
        context.progress(0, 1, "waiting")  # the parent hears something: it notices a signal by then
        time.sleep(0.05)
    if params.saves and not context.checkpoints.is_dir():
        context.checkpoints.mkdir(parents=True)
        (context.checkpoints / "saved").write_text(str(params.level))
        os.kill(os.getpid(), signal.SIGKILL)
    misbehave(params.do)
    context.progress(1, 1, "made")
    left = {} if allocation is None else {"left": allocation["leave"]}
    return {"model": {"level": params.level, "padding": "x" * params.padding, **left}}


class AllocateParams(Params):
    leave: list[str] | None = Field(default_factory=list)
    do: str = ""


@operator("toy.allocate", version=1, family="toy", params=AllocateParams,
          inputs={"tried": Port(("value",), many=True)}, outputs={"allocation": "value"})  # fmt: skip
def allocate(params, context, *, tried):
    """Allocate."""
    ran(f"allocate {len(tried)}")
    misbehave(params.do)
    return {"allocation": {"leave": params.leave, **({"ended": "enough"} if params.leave is None else {})}}


def misbehave(do):
    if do.startswith("leak"):
        print("db_password: hunter2\nhttps://me:hunter2@host/x\nkept", flush=True)
    if do == "refuse":
        raise PreconditionError(Diagnostic("T001", "level is not for this model"))
    if do.endswith("raise"):
        raise ValueError("seven is\nnot even")
    if do == "exit":
        os._exit(3)
    if do == "leave":
        raise SystemExit(4)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if do == "abort":
        os.abort()
    if do == "print":
        print("said in python", flush=True)
        os.write(1, b"said below\n")


class Empty(Params):
    pass


class AnswerParams(Params):
    do: str = ""


@operator("toy.answer", version=1, family="toy", params=AnswerParams, inputs={"model": "value", "rows": "value"},
          outputs={"outputs": "value"})  # fmt: skip
def answer(params, context, *, model, rows):
    """Answer."""
    ran(f"answer {model['level']}")
    misbehave(params.do)
    return {"outputs": {"level": model["level"], "number": rows["number"]}}


class MeasureParams(Params):
    quality: float = 1.0
    lower: float | None = None
    groups: dict[str, Any] = Field(default_factory=dict)


@operator("toy.measure", version=1, family="toy", params=MeasureParams, inputs={"outputs": "value"},
          outputs={"quality": "value"})  # fmt: skip
def measure(params, context, *, outputs):
    """Measure."""
    ran(f"measure {outputs['level']}")
    metrics = {"accuracy": 0.9}
    return {"quality": {"rows": 1000, "original": metrics, "candidate": metrics, "agreement": params.quality,
                        "retention": params.quality, "groups": params.groups,
                        "lower": params.quality - 0.01 if params.lower is None else params.lower}}  # fmt: skip


class TimeParams(Params):
    seconds: dict[str, float] = Field(default_factory=dict)
    failed: dict[str, str] = Field(default_factory=dict)
    passing: str = ""
    do: dict[str, str] = Field(default_factory=dict)


@operator("toy.time", version=1, family="toy", params=TimeParams, inputs={"models": Port(("value",), many=True)},
          outputs={"timings": "value"}, determinism="measured")  # fmt: skip
def clock(params, context, *, models):
    """Time."""
    ran("time")
    if params.passing:
        context.do_not_reuse(params.passing)
    timings = {}
    for name in models:
        context.attend(name)
        misbehave(params.do.get(name, ""))
        p50 = params.seconds.get(name, 1.0)
        runs = {"samples": [p50] * 60, "cpu": [p50] * 60, "waiting": 1.0}
        batch = {"p50": p50, "p95": p50, "p99": p50, **runs, "throughput": 1 / p50}
        timings[name] = {"1": batch, "peak_bytes": None}
    return {"timings": timings | {name: {"failed": why} for name, why in params.failed.items()}}


class JudgeParams(Params):
    candidate: str
    verdict: str = "PASS"
    original: str = "PASS"  # the verdict on the original, where it is judged by itself
    gates: list[dict] = Field(default_factory=list)
    do: str = ""


@operator("toy.judge", version=1, family="toy", params=JudgeParams,
          inputs={"original": "value", "candidate": "value", "rows": "value", "point": "value", "model": "value"},
          outputs={"judgement": "value", "answers": "value"})  # fmt: skip
def judge(params, context, *, original, candidate, rows, point, model):
    """Judge."""
    ran(f"judge {params.candidate}")
    misbehave(params.do)
    verdict = params.original if params.candidate == "original" else params.verdict
    kept = verdict == "PASS"
    gate = params.gates[0]["id"] if params.gates else "retention"
    result = {"gate": gate, "verdict": verdict, "estimate": 1.0, "lower": 0.9, "upper": 1.0,
              "original": 0.9, "candidate": 0.9, "cases": 10, "changed": 0, "needed_cases": 5, "reason": "toy",
              "method": "toy"}  # fmt: skip
    judgement = {"candidate": params.candidate, "verdict": verdict,
                 "released": kept or verdict == "INCONCLUSIVE", "proven": kept, "results": [result]}  # fmt: skip
    return {"judgement": judgement, "answers": {"classes": ["a", "b"], "cases": 10}}


class LookParams(Params):
    fails: bool = False


@operator("toy.look", version=1, family="toy", params=LookParams, inputs={"model": "value"}, outputs={"seen": "value"})
def look(params, context, *, model):
    """Look inside."""
    if params.fails:
        raise PreconditionError(Diagnostic("X999", "there is nothing to see"))
    return {"seen": {"model": model}}


@operator("toy.report", version=1, family="toy", params=Empty, inputs={"record": "value"}, outputs={"report": "report"})
def report(params, context, *, record):
    """Report."""
    ran("report")
    folder = context.scratch / "report"
    folder.mkdir()
    for name in ("report.html", "report.md", "report.json"):
        (folder / name).write_text(record["run"]["verdict"])
    return {"report": ReportFiles(folder)}
