"""The steps around a file: its answers, its figures, its judgement, and the joint timing."""

from collections.abc import Mapping
from typing import Any

from titrant.compiler.bound import BoundRecipe
from titrant.compiler.decisions import Decisions
from titrant.compiler.lowering import contract
from titrant.compiler.lowering.chains import Original
from titrant.compiler.lowering.steps import StepMaker
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Candidate, Step

TUNING = "transform.tuning"
EVALUATION = "transform.evaluation"
POINT = "point.point"
TIMINGS = "latency.timings"


@dataclass(frozen=True)
class Answering:
    """What every file of one plan is answered, measured and judged with."""

    bound: BoundRecipe
    decisions: Decisions
    maker: StepMaker

    @property
    def reading(self) -> dict[str, Any]:
        """How the outputs of the original and of every candidate are read."""
        return contract.reading(self.bound.recipe, self.maker.model.outputs)

    def baseline(self, original: Original) -> tuple[Step, ...]:
        """Answer tuning rows with the original and fix the operating point from its answers; evaluation rows later."""
        params = {**self.reading, **self.decisions.operating_point}
        return (
            self._original("baseline.tuning", original, TUNING, "prepare"),
            self.maker.make(
                "point",
                "validate.operating_point",
                params,
                {"rows": TUNING, "outputs": "baseline.tuning.outputs"},
                stage="prepare",
                because="one operating point for the original and every candidate",
            ),
            self._original("baseline.evaluation", original, EVALUATION, "judge"),
        )

    def compare(self, candidate: Candidate) -> tuple[Step, ...]:
        """Answer tuning rows with a candidate's file and measure it beside the original: this is what chooses."""
        name = candidate.id
        return (
            self._answers(f"{name}.tuning", candidate, TUNING, "make", "to choose"),
            self.maker.make(
                f"{name}.quality",
                "validate.measure",
                self.reading,
                {"rows": TUNING, "original": "baseline.tuning.outputs", "candidate": candidate.answers, "point": POINT},
                stage="make",
                candidate=name,
                because="to choose",
            ),
        )

    def judge(self, candidate: Candidate, original: Original) -> tuple[Step, ...]:
        """Answer evaluation rows with a candidate's file, time it anew where a gate asks, and judge by the contract."""
        name = candidate.id
        inputs = {
            "rows": EVALUATION,
            "original": "baseline.evaluation.outputs",
            "candidate": f"{name}.evaluation.outputs",
            "point": POINT,
            "model": candidate.model,
        }
        steps = [self._answers(f"{name}.evaluation", candidate, EVALUATION, "judge", "if shortlisted")]
        if contract.judges_time(self.decisions):
            steps.append(self._timed_anew(f"{name}.latency", original, candidate))
            inputs["timings"] = f"{name}.latency.timings"
        return (
            *steps,
            self.maker.make(
                f"{name}.contract",
                "validate.contract",
                contract.contract(self.bound, self.decisions, self.maker.model.outputs, name),
                inputs,
                stage="judge",
                candidate=name,
                because="if shortlisted",
            ),
        )

    def timing(self, original: Original, candidates: tuple[Candidate, ...]) -> Step:
        """Time the original and every candidate together: timings apart cannot be compared."""
        because = "side by side, in turns"
        return self._timed("latency", original, candidates, TUNING, {}, stage="measure", because=because)

    def _timed_anew(self, identifier: str, original: Original, candidate: Candidate) -> Step:
        """Time a shortlisted candidate once more beside the original: the runs that chose it may have been lucky ones.

        On evaluation rows, also because the same step on the same rows would be taken for the timing that chose.
        """
        batches = {"batches": contract.judged_batches(self.bound.recipe, self.decisions)}
        about = {"stage": "judge", "candidate": candidate.id, "because": "if shortlisted: what chose does not judge"}
        return self._timed(identifier, original, (candidate,), EVALUATION, batches, **about)

    def _timed(
        self,
        identifier: str,
        original: Original,
        candidates: tuple[Candidate, ...],
        rows: str,
        given: Mapping[str, Any],
        **about: str,
    ) -> Step:
        engines = {"original": self.decisions.original_engine, **{one.id: one.engine for one in candidates}}
        models = {"original": original.reference, **{one.id: one.model for one in candidates}}
        params = {
            "engines": engines,
            "threads": self.decisions.timing_threads,
            "device": self.decisions.device,
            **self.decisions.profile,
            **given,
        }
        return self.maker.make(identifier, "profile.latency", params, {"models": models, "rows": rows}, **about)

    def _original(self, identifier: str, original: Original, rows: str, stage: str) -> Step:
        params = contract.predict(self.decisions.original_engine, self.decisions)
        inputs = {"model": original.reference, "rows": rows}
        because = "what candidates are compared with"
        return self.maker.make(identifier, "validate.predict", params, inputs, stage=stage, because=because)

    def _answers(self, identifier: str, candidate: Candidate, rows: str, stage: str, because: str) -> Step:
        return self.maker.make(
            identifier,
            "validate.predict",
            contract.predict(candidate.engine, self.decisions),
            {"model": candidate.model, "rows": rows},
            stage=stage,
            candidate=candidate.id,
            because=because,
        )
