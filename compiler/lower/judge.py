"""The steps that answer rows with a candidate's file, measure, time and judge it, and their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.decide.measuring import kept_tokens
from titrant.compiler.decide.rule import Decisions
from titrant.compiler.lower.answering import (
    TimedModel,
    contract,
    judged_timing,
    judges_time,
    other_names,
    predict,
    raw_reading,
    reading,
    timing_batch,
)
from titrant.compiler.lower.chains import RAW, Original
from titrant.compiler.lower.earlier import earlier_answers, earlier_inputs, earlier_params, timed_beside
from titrant.compiler.lower.plan_graph import PortSource, StepMaker, split_reference
from titrant.runtime import catalog
from titrant.runtime.catalog import method_operator
from titrant.schema.gate import (
    BATCH_INVARIANCE,
    FINE_TUNED,
    Gate,
    asked_of_original,
    criteria,
    kept_at_least,
    of_subgroups,
)
from titrant.schema.plan import GIVEN, MENDING_STAGE, Candidate, Step
from titrant.schema.values.frozen import dataclass

TRAIN = "transform.train"
TUNING = "transform.tuning"
EVALUATION = "transform.evaluation"
UNLABELED = "unlabeled.unlabeled"
POINT = "point.point"
TIMINGS = "latency.timings"
# The step that trains the original as candidates are.
CONTROL = "control"
# What a step that answers is called where another one makes boxes of its outputs.
RAW_ANSWERS = "raw"
REPEATS, REFERENCE = "original.repeats", "original.reference"
# Rows that are asked again in other company, of a file that finds scales from the batch, and of any other.
_TRIED_WITH_SCALES, _TRIED = 256, 32
# Where a gate is judged by them, this many at least: what comes of fewer says little.
_TRIED_TO_JUDGE = 512


@dataclass(frozen=True)
class Answering:
    """What every file of one plan is answered, measured and judged with."""

    bound: BoundRecipe
    decisions: Decisions
    maker: StepMaker
    assumed_order: bool = False  # which output is which class is assumed of a model that was trained elsewhere
    columned: frozenset[str] = frozenset()  # files that take raw columns, since their transforms are inside
    trained: frozenset[str] = frozenset()  # candidates that are trained, beside which the original is too

    @property
    def reading(self) -> dict[str, Any]:
        """How the outputs of the original and of every candidate are read."""
        return reading(self.bound.recipe, self.maker.model.outputs)

    def runs_in(self, engine: str) -> dict[str, Any]:
        """Say where a model answers rows, and what is kept of its answers."""
        return predict(engine, self.decisions) | kept_tokens(self.bound.recipe, self.maker.model.outputs)

    def _of(self, candidate: Candidate) -> dict[str, Any]:
        return self.runs_in(candidate.engine) | other_names(candidate, self.decisions)

    @property
    def raw_reading(self) -> dict[str, Any]:
        """How outputs are read where only their numbers count."""
        return raw_reading(self.bound.recipe, self.maker.model.outputs)

    def baseline(self, original: Original) -> tuple[Step, ...]:
        """Answer tuning rows with the original and fix the operating point from its answers; evaluation rows later."""
        params = {**self.reading, **self.decisions.settled.operating_point}
        return (
            *self._original("baseline.tuning", original, TUNING, "prepare"),
            self.maker.make(
                "point",
                "validate.operating_point",
                params,
                {"rows": TUNING, "outputs": "baseline.tuning.outputs"},
                stage="prepare",
                because="one operating point for the original and every candidate",
            ),
            self.maker.make(
                REFERENCE,
                "validate.reference",
                {**self.reading, "assumed_order": self.assumed_order, **self._own},
                {"rows": TUNING, "outputs": "baseline.tuning.outputs", "point": POINT},
                stage="prepare",
                because="what is misread, or no better than one answer for all, proves nothing",
            ),
            *self._original("baseline.evaluation", original, EVALUATION, "judge"),
            *(self._original("baseline.unlabeled", original, UNLABELED, "judge") if self._unlabeled else ()),
        )

    @property
    def _unlabeled(self) -> bool:
        """Whether there are rows without labels to judge on as well."""
        return getattr(self.bound.recipe.data, "unlabeled", None) is not None

    def _without_labels(self, candidate: Candidate) -> tuple[tuple[Step, ...], dict[str, str]]:
        """Answer rows without labels with a candidate's file; returns what judging takes of them as well."""
        if not self._unlabeled:
            return (), {}
        answers = self._answers(f"{candidate.id}.unlabeled", candidate, UNLABELED, "judge", "if shortlisted")
        inputs = {
            "unlabeled": UNLABELED,
            "unlabeled_original": "baseline.unlabeled.outputs",
            "unlabeled_candidate": f"{candidate.id}.unlabeled.outputs",
        }
        data = self.bound.recipe.data
        labels = {"labels": "labels.labels"} if data is not None and data.labels is not None else {}
        return answers, inputs | labels

    def fitness(self, original: Original) -> tuple[Step, ...]:
        """See whether the original is fit to be compared with, before anything is made of it or learned from it."""
        params = self.runs_in(self.decisions.settled.original_engine)
        inputs = {"model": original.reference, "rows": TUNING}
        because = "what answers at random proves nothing"
        return (self.maker.make(REPEATS, "validate.repeats", params, inputs, stage="prepare", because=because),)

    def compare(self, candidate: Candidate, stage: str) -> tuple[Step, ...]:
        """Answer tuning rows with a candidate's file and measure it beside the original: this is what chooses."""
        name = candidate.id
        return (
            *self._answers(f"{name}.tuning", candidate, TUNING, stage, "to choose"),
            self.maker.make(
                f"{name}.quality",
                "validate.measure",
                {**self.reading, **self._beyond_chance(candidate), **self._own, **self._groups},
                {
                    "rows": TUNING,
                    "original": "baseline.tuning.outputs",
                    "candidate": candidate.answers,
                    "point": POINT,
                    **self._beside(candidate, "tuning"),
                },
                stage=stage,
                candidate=name,
                because="to choose",
            ),
        )

    @property
    def _own(self) -> dict[str, Any]:
        """The metrics of the user's own that the search is after, with what they declare."""
        own = self.decisions.settled.objective.own
        return {"own": {name: vars(each) for name, each in own.items()}} if own else {}

    @property
    def _groups(self) -> dict[str, Any]:
        """The gates on subgroups, with the fewest cases that they conclude from and a report may tell of."""
        of_bias, shown = self.decisions.settled.presets.bias_min_cases, self.bound.recipe.report.min_cell
        groups = [
            criteria(gate) | {"min_cases": max(gate.min_cases or of_bias, shown)}
            for gate in of_subgroups(self.decisions.settled.contract)
        ]
        return {"groups": groups} if groups else {}

    def _beyond_chance(self, candidate: Candidate) -> dict[str, Any]:
        """Say what a mixture must keep beyond chance on tuning rows, on which it was searched for."""
        contract = self.decisions.settled.contract
        asked = kept_at_least(contract) if candidate.allocation else None
        return {} if asked is None else {"asked": asked, "confidence": contract.confidence}

    def judge(self, candidate: Candidate, original: Original, timed: Sequence[TimedModel]) -> tuple[Step, ...]:
        """Answer evaluation rows with a candidate's file, time it anew where a gate asks, and judge by the contract.

        `timed` are the models of the joint timing, of which its plain conversion is timed anew beside it.
        """
        name = candidate.id
        inputs: dict[str, PortSource] = {
            "rows": EVALUATION,
            "original": "baseline.evaluation.outputs",
            "candidate": f"{name}.evaluation.outputs",
            "point": POINT,
            "model": candidate.model,
            "executed": candidate.executed,
        }
        steps = [*self._asked_again(candidate)]
        steps += self._answers(f"{name}.evaluation", candidate, EVALUATION, "judge", "if shortlisted")
        more, read = self._without_labels(candidate)
        steps += more
        inputs |= read | self._beside(candidate, "evaluation") | earlier_inputs(self.decisions)
        if judges_time(self.decisions):
            beside = [model for model in timed if model.name in (candidate.plain, name)]
            steps.append(self._timed_anew(candidate, original, [*beside, *timed_beside(self.decisions)]))
            inputs["timings"] = f"{name}.latency.timings"
        if any(gate.metric == BATCH_INVARIANCE for gate in self.decisions.settled.contract.gates):
            steps.append(self._other_company(candidate, f"{name}.company", EVALUATION))
            inputs["invariance"] = f"{name}.company.invariance"
        return (
            *steps,
            self.maker.make(
                f"{name}.contract",
                "validate.contract",
                self._gates(name),
                inputs,
                stage="judge",
                candidate=name,
                because="if shortlisted",
            ),
        )

    def _asked_again(self, candidate: Candidate) -> tuple[Step, ...]:
        """Ask whether a candidate's answers to tuning rows hold: what is not worth judging is not asked."""
        params = self._of(candidate)
        inputs = {"model": candidate.model, "rows": self.taken(candidate, TUNING)}
        because = "if shortlisted: what answers at random proves nothing"
        about = {"stage": "judge", "candidate": candidate.id, "because": because}
        return (
            self.maker.make(f"{candidate.id}.repeats", "validate.repeats", params, inputs, **about),
            self._other_company(candidate, f"{candidate.id}.invariance", TUNING),
        )

    def _gates(self, candidate: str) -> dict[str, Any]:
        """Say by which gates a candidate is judged; one that is not trained has none beside the fine-tuned original."""
        params = contract(self.bound, self.decisions, self.maker.model.outputs, candidate)
        params |= earlier_params(self.decisions)
        if candidate in self.trained:
            return params
        return {**params, "gates": [gate for gate in params["gates"] if gate["preset"] != FINE_TUNED]}

    def judge_original(self, original: Original) -> tuple[Step, ...]:
        """Judge the original by the gates that are about it alone, before any candidate is made; () without any."""
        gates = [gate for gate in self.decisions.settled.contract.gates if gate.of_original]
        if not asked_of_original(self.decisions.settled.contract):
            return ()  # that it beats a constant answer is seen on tuning rows before, and judged with each candidate
        return self._by_itself(
            "original.contract", original, gates, ("evaluation", "judge"), "the original answers for itself"
        )

    def limits_of_original(self, original: Original) -> tuple[Step, ...]:
        """Judge the original on tuning rows by the gates that it can miss as a candidate can; () without any.

        What it misses there is said before anything is made of it, and decides nothing.
        """
        gates = [gate for gate in self.decisions.settled.contract.gates if gate.absolute and not gate.of_original]
        because = "what the original itself misses is not a candidate's"
        return self._by_itself("original.limits", original, gates, ("tuning", "prepare"), because)

    def _by_itself(
        self, identifier: str, original: Original, gates: Sequence[Gate], at: tuple[str, str], because: str
    ) -> tuple[Step, ...]:
        """Judge the original beside itself, on the rows of a role and in a stage."""
        if not gates:
            return ()
        role, stage = at
        answers = f"baseline.{role}.outputs"
        params = contract(self.bound, self.decisions, self.maker.model.outputs, "original")
        inputs = {"rows": f"transform.{role}", "original": answers, "candidate": answers, "point": POINT}
        return (
            self.maker.make(
                identifier,
                "validate.contract",
                {**params, "gates": [criteria(gate) for gate in gates]},
                {**inputs, "model": original.reference},
                stage=stage,
                because=because,
            ),
        )

    def _beside(self, candidate: Candidate, role: str) -> dict[str, str]:
        """Say what a candidate that is trained is compared with beside the original, on the rows of a role."""
        return {FINE_TUNED: f"{CONTROL}.{role}.outputs"} if candidate.id in self.trained else {}

    def fine_tuned(self, original: Original, candidates: Sequence[Candidate]) -> tuple[Step, ...]:
        """Train the original as candidates are, made anyhow or once a search asks; () where none is trained."""
        params = self.decisions.settled.fine_tuning
        if params is None:
            return ()
        anyhow = any(candidate.id in self.trained and not candidate.waits_for for candidate in candidates)
        stage = "make" if anyhow else MENDING_STAGE
        settled = self.decisions.settled
        lost = "quantization" if settled.recovery is None and not settled.reductions else "a reduction"
        because = f"training alone may gain what {lost} loses"
        inputs = {"model": original.reference, "train": TRAIN, "tuning": TUNING}
        trained = Original(f"{CONTROL}.model", original.kind)
        return (
            self.maker.make(CONTROL, "train.fit", params, inputs, stage=stage, because=because),
            *self._original(f"{CONTROL}.tuning", trained, TUNING, stage),
            *self._original(f"{CONTROL}.evaluation", trained, EVALUATION, "judge"),
        )

    def earlier(self) -> tuple[Step, ...]:
        """Answer evaluation rows with every earlier release whose answers a row compares with."""
        about = {"stage": "judge", "because": "the same rows as the original and the candidate"}
        answered = (
            self.answered(name, self.runs_in(engine) | named, {"model": model, "rows": EVALUATION}, EVALUATION, **about)
            for name, engine, model, named in earlier_answers(self.decisions)
        )
        return tuple(step for steps in answered for step in steps)

    def timing(self, original: Original, models: Sequence[TimedModel], beside: Sequence[str]) -> Step:
        """Time the original, every candidate and their plain conversions together: timings apart cannot be compared.

        `beside` names the plain conversions that are no candidates.
        """
        params = {"chooses": True, "beside": beside} if beside else {"chooses": True}
        because = "side by side, in turns"
        return self._timed("latency", original, models, (TUNING, params), stage="measure", because=because)

    def _timed_anew(self, candidate: Candidate, original: Original, models: Sequence[TimedModel]) -> Step:
        """Time a shortlisted candidate once more beside the original: the runs that chose it may have been lucky ones.

        On evaluation rows, also because the same step on the same rows would be taken for the timing that chose.
        """
        judged = judged_timing(self.bound.recipe, self.decisions)
        about = {"stage": "judge", "candidate": candidate.id, "because": "if shortlisted: what chose does not judge"}
        return self._timed(f"{candidate.id}.latency", original, models, (EVALUATION, judged), **about)

    def _timed(
        self,
        identifier: str,
        original: Original,
        models: Sequence[TimedModel],
        given: tuple[str, Mapping[str, Any]],
        **about: str,
    ) -> Step:
        """Make a timing step; `given` are its rows and what its parameters have instead of the plan's."""
        rows, more = given
        engines = {"original": self.decisions.settled.original_engine, **{model.name: model.engine for model in models}}
        sources = {"original": original.reference, **{model.name: model.model for model in models}}
        params = {
            "engines": engines,
            "threads": self.decisions.settled.threads.timing,
            "device": self.decisions.settled.device,
            "compared": timing_batch(self.bound.recipe),
            **self.decisions.settled.profile,
            **more,
        }
        inputs: dict[str, PortSource] = {"models": sources, "rows": rows}
        if columned := [name for name in sources if name in self.columned]:
            params["columned"] = columned
            inputs["raw"] = f"{RAW}.{split_reference(rows)[1]}"
        return self.maker.make(identifier, "profile.latency", params, inputs, **about)

    def _other_company(self, candidate: Candidate, identifier: str, rows: str) -> Step:
        """See whether a candidate's answers depend on who shares the batch."""
        answers = candidate.answers if rows == TUNING else f"{candidate.id}.evaluation.outputs"
        params = {**self.reading, **self._of(candidate), "rows": self._tried(candidate, rows)}
        if (decode := self.bound.recipe.model.decode) is not None:
            params["decode"] = decode
            answers = f"{split_reference(answers)[0]}.{RAW_ANSWERS}.outputs"
        inputs = {"model": candidate.model, "rows": self.taken(candidate, rows), "outputs": answers, "point": POINT}
        because = "if shortlisted: a case may not be decided by who shares its batch"
        operator = "validate.batch_invariance"
        about = {"stage": "judge", "candidate": candidate.id, "because": because}
        return self.maker.make(identifier, operator, params, inputs, **about)

    def _tried(self, candidate: Candidate, rows: str) -> int:
        """Return how many rows are asked again: where a gate is judged by them, as many as it needs."""
        if rows == EVALUATION:
            gates = [gate for gate in self.decisions.settled.contract.gates if gate.metric == BATCH_INVARIANCE]
            return max(_TRIED_TO_JUDGE, *(gate.needed_cases or 0 for gate in gates))
        method = None if candidate.method in {"none", GIVEN} else catalog.get(method_operator(candidate.method)).method
        return _TRIED_WITH_SCALES if method is not None and method.dynamic_activations else _TRIED

    def _original(self, identifier: str, original: Original, rows: str, stage: str) -> tuple[Step, ...]:
        params = self.runs_in(self.decisions.settled.original_engine)
        inputs = {"model": original.reference, "rows": rows}
        return self.answered(identifier, params, inputs, rows, stage=stage, because="what candidates are compared with")

    def _answers(self, identifier: str, candidate: Candidate, rows: str, stage: str, because: str) -> tuple[Step, ...]:
        params = self._of(candidate)
        inputs = {"model": candidate.model, "rows": self.taken(candidate, rows)}
        about = {"stage": stage, "candidate": candidate.id, "because": because}
        return self.answered(identifier, params, inputs, rows, **about)

    def answered(
        self, identifier: str, params: Mapping[str, Any], inputs: Mapping[str, PortSource], rows: str, **about: str
    ) -> tuple[Step, ...]:
        """Answer rows, and make boxes of the raw outputs where the recipe says how."""
        decode = self.bound.recipe.model.decode
        if decode is None:
            return (self.maker.make(identifier, "validate.predict", params, inputs, **about),)
        raw = f"{identifier}.{RAW_ANSWERS}"
        return (
            self.maker.make(raw, "validate.predict", params, inputs, **about),
            self.maker.make(
                identifier, "validate.decode", {"decode": decode}, {"outputs": f"{raw}.outputs", "rows": rows}, **about
            ),
        )

    def taken(self, candidate: Candidate, rows: str) -> str:
        """Name a role's rows in the form that a candidate's file takes."""
        if candidate.id not in self.columned:
            return rows
        return f"{split_reference(rows)[0]}.{RAW}" if rows == UNLABELED else f"{RAW}.{split_reference(rows)[1]}"
