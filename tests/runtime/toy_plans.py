"""A toy plan for tests to execute, and what planning gives of it: processes that run it load no pytest for that."""

from titrant.schema.facts import Hardware, HardwareIdentity
from titrant.schema.gate import Contract, Gate
from titrant.schema.plan import Candidate, CandidateSearch, Plan, Step
from titrant.schema.planned import Planned

MACHINE = HardwareIdentity(
    system="linux", machine="x86_64", cpu="toy", instructions=("avx2",), cores=2, memory_bytes=None, gpus=(),
    python="3.11.0", packages={"numpy": "2.4"},
)  # fmt: skip


def planned(plan, folder, file="toy.yaml"):
    """Return a plan as planning a recipe gives it."""
    return Planned(plan, Hardware(plan.hardware), "name: toy\n", file, str(folder))


def step(name, operator, params, inputs, stage, candidate=""):  # noqa: PLR0917
    return Step(name, f"toys:{operator}", 1, params, inputs, 7, stage, candidate)


def toy_plan(levels=(1, 2), *, load=None, make=None, quality=None, seconds=None, verdicts=None, shortlist=4):
    """Build a plan with one candidate a level; options by level, or for all where they are for `load`."""
    make, quality, verdicts = make or {}, quality or {}, verdicts or {}
    names = {level: f"c{level}" for level in levels}
    steps = [step("load", "load", load or {}, {}, "prepare")]
    candidates = []
    for level, name in names.items():
        steps += [
            step(name, "make", {"level": level, "padding": 100 // level, **make.get(level, {})},
                 {"model": "load.model"}, "make", name),
            step(f"{name}.tuning", "answer", {}, {"model": f"{name}.model", "rows": "load.rows"}, "make", name),
            step(f"{name}.quality", "measure", {"quality": quality.get(level, 1.0)},
                 {"outputs": f"{name}.tuning.outputs"}, "make", name),
        ]  # fmt: skip
        candidates.append(Candidate(name, "toy", "toy", "json", level, f"{name}.model", f"{name}.tuning.outputs",
                                    f"{name}.quality.quality", f"{name}.contract.judgement"))  # fmt: skip
    models = {"original": "load.model", **{name: f"{name}.model" for name in names.values()}}
    given = seconds or {level: 1.0 / (1 + level) for level in levels}
    steps.append(step("latency", "clock", {"seconds": {names[level]: given[level] for level in levels}},
                      {"models": models}, "measure"))  # fmt: skip
    steps.append(step("baseline", "answer", {}, {"model": "load.model", "rows": "load.rows"}, "judge"))
    for level, name in names.items():
        steps.append(step(f"{name}.contract", "judge", {"candidate": name, "verdict": verdicts.get(level, "PASS")},
                          {"original": "baseline.outputs", "candidate": f"{name}.tuning.outputs", "rows": "load.rows",
                           "point": "load.point", "model": f"{name}.model"},
                          "judge", name))  # fmt: skip
    steps.append(step("report", "report", {}, {"record": "run.record"}, "report"))
    search = CandidateSearch("auto", "toy", tuple(names.values()), ("latency", "size"), shortlist, "latency.timings")
    gate = Gate("retention", "retention", "accuracy", "all", "retention", 0.95, "score_ratio", "recipe")
    return Plan(
        name="toy", recipe_digest="r", language=1, task="binary_classification", hardware=MACHINE, model_digest="m",
        data_digest="d", threads=1, timing_threads=1, deterministic=True, original="load.model",
        original_engine="toy", decisions=(), steps=tuple(steps), candidates=tuple(candidates), searches=(search,),
        contract=Contract((gate,), 0.95, "evidence"), shipped={"operating_point": "load.point"},
    )  # fmt: skip
