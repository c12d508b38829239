"""What became of a plan's candidates, as each stage hands it on: what was chosen, what was judged, and how it ended."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from titrant.runtime.contract.verdict import blockers, meets, original_misses
from titrant.runtime.run.choice.figures import Figures, shown
from titrant.runtime.run.choice.shortlist import Choice
from titrant.runtime.run.gains import gains, latency_gain, parts, reductions
from titrant.runtime.run.replay import judged as chosen_to_judge
from titrant.runtime.run.walk import Walk, needed
from titrant.runtime.store.run_folder import released_path
from titrant.schema.contract.waivers import WAIVED, WaivedGate
from titrant.schema.diagnostics.diagnostics import CONTRACT_NOT_KEPT, OK
from titrant.schema.gate import Contract, Judgement, asked_of_original, threshold_words
from titrant.schema.plan import OBSERVING_STAGE, Candidate, CandidateSearch
from titrant.schema.record import NOT_TRIED, CandidateRecord, LadderRung, Look, ModelInside, layers_of
from titrant.schema.values.canonical import plain
from titrant.schema.values.frozen import dataclass, replace

_STOPPED = "a gentler candidate did not keep the contract: judging stopped there"


@dataclass(frozen=True)
class Chosen:
    """What is settled before any evaluation row is read: who is out, what was measured, and who is judged in turn."""

    rejected: Mapping[str, str] = field(default_factory=dict)  # candidate → why
    measured: Mapping[str, Figures] = field(default_factory=dict)
    choices: Mapping[str, tuple[Choice, ...]] = field(default_factory=dict)  # search → in the order of judging
    unmade: Mapping[str, str] = field(default_factory=dict)  # search → why it has no candidate
    untried: Mapping[str, str] = field(default_factory=dict)  # candidate that mends another → why nobody asked for it
    judged_on: str = ""  # the day (UTC, ISO 8601) that waivers are read at; "" without any

    def shortlist(self, search: str) -> tuple[str, ...]:
        """Return the candidates of a search to judge, from gentle to aggressive."""
        return chosen_to_judge(self.choices[search])

    def choice(self, candidate: str) -> Choice:
        """Return what was chosen for a candidate, by the first search that it is in."""
        return next(choice for each in self.choices.values() for choice in each if choice.candidate == candidate)


@dataclass(frozen=True)
class JudgedSearches:
    """What judging the shortlists answered."""

    judgements: Mapping[str, Judgement] = field(default_factory=dict)  # candidate → as judged
    best: Mapping[str, str] = field(default_factory=dict)  # search → the candidate that it ended with
    stopped: str = ""  # why candidates were left unjudged before their turn came; "" where none was

    def adding(self, search: str, judgement: Judgement) -> "JudgedSearches":
        """Return this with one judgement more; a search ends with its latest candidate that is let through."""
        better = judgement.released or search not in self.best
        best = {**self.best, search: judgement.candidate} if better else self.best
        return JudgedSearches({**self.judgements, judgement.candidate: judgement}, best, self.stopped)

    def with_unjudged(self, judgement: Judgement) -> "JudgedSearches":
        """Return this with a candidate that ended the worker: no search ends with it."""
        return replace(self, judgements={**self.judgements, judgement.candidate: judgement})

    @property
    def released(self) -> Mapping[str, str]:
        """Search → the candidate that is let through, each file by its own judgement."""
        ended = {search: self.judgements.get(candidate) for search, candidate in self.best.items()}
        return {search: judged.candidate for search, judged in ended.items() if judged is not None and judged.released}

    @property
    def put_out(self) -> Mapping[str, str]:
        """Search → candidate of what a run leaves behind: what is released, else what every search ended with."""
        return self.released or self.best

    @property
    def withheld(self) -> tuple[str, ...]:
        """The searches that ended without a candidate that is let through; none where nothing was judged."""
        return tuple(search for search in self.best if search not in self.released)


@dataclass(frozen=True)
class Outcome:
    """What became of a plan; `original` is how the original itself was judged, where the contract asks that."""

    original: Judgement | None = None
    chosen: Chosen = Chosen()
    judged: JudgedSearches = JudgedSearches()
    look: Look | None = None  # at evaluation rows; None where nothing was judged on them
    waived: Mapping[str, tuple[WaivedGate, ...]] = field(default_factory=dict)  # candidate → what waivers let through

    @property
    def missed(self) -> bool:
        """Tell whether the original itself is not good enough, so that no candidate was made."""
        return misses(self.original)

    @property
    def exit(self) -> int:
        """Return 0 when everything asked for is released, else 5."""
        return OK if self.judged.released and not self.withheld else CONTRACT_NOT_KEPT

    @property
    def withheld(self) -> tuple[str, ...]:
        """The searches of which nothing is released: no candidate is let through, or none could be made."""
        return (*self.judged.withheld, *self.chosen.unmade)

    @property
    def verdict(self) -> str:
        """Return PASS, NOT PROVEN, WAIVED, FAIL or INCONCLUSIVE."""
        if self.original is not None and self.missed:
            return "FAIL" if self.original.verdict == "FAIL" else "INCONCLUSIVE"
        judgements = self.judged.judgements
        ended = [judgements[candidate] for candidate in self.judged.best.values() if candidate in judgements]
        if self.exit == OK and any(name in self.waived for name in self.judged.released.values()):
            return WAIVED
        if self.exit == OK:
            return "PASS" if all(judgement.proven for judgement in ended) else "NOT PROVEN"
        return "FAIL" if any(judgement.verdict == "FAIL" for judgement in ended) else "INCONCLUSIVE"


def misses(original: Judgement | None) -> bool:
    """Tell whether the original was judged by itself and is not good enough."""
    return original is not None and not original.released


def missed_words(contract: Contract) -> str:
    """Say that the original itself is not good enough for a contract."""
    return f"the original itself misses the contract's {asked_of_original(contract)}"


def missed_before(contract: Contract, limits: Judgement) -> str:
    """Say what the original misses on tuning rows of what every candidate is asked; "" where it misses nothing."""
    gates = {gate.id: gate for gate in contract.gates}
    missed = [
        f"{result.gate} ({result.estimate:.4f}, {threshold_words(gates[result.gate])} is asked)"
        for result in limits.results
        if result.estimate is not None and not meets(gates[result.gate], result.estimate)
    ]
    if not missed:
        return ""
    return f"the original itself misses, on tuning rows, {', '.join(missed)}: no candidate is to blame for that"


def judging_failure(walk: Walk, candidate: Candidate) -> str:
    """Say which step failed that judging a candidate needs, and why; "" where none did."""
    steps = needed(walk.plan, candidate.judgement, ("judge",))
    failed = next((step.id for step in steps if step.id in walk.errors), None)
    return "" if failed is None else f"{failed}: {walk.reason(failed)}"


def judging_crash(walk: Walk, candidate: Candidate) -> str:
    """Say how judging a candidate ended the worker; "" where it did not."""
    crashed = any(walk.crashed(step.id) for step in needed(walk.plan, candidate.judgement, ("judge",)))
    return judging_failure(walk, candidate) if crashed else ""


def candidate_records(walk: Walk, outcome: Outcome) -> tuple[CandidateRecord, ...]:
    """Say of every candidate what became of it and why."""
    return tuple(
        replace(
            _record(walk, outcome, candidate),
            layers=layers_of(walk.value_if_there(candidate.executed)),
            left=tuple((walk.value_if_there(candidate.allocation) or {}).get("leave") or ()),
        )
        for candidate in walk.plan.candidates
    )


def _record(walk: Walk, outcome: Outcome, candidate: Candidate) -> CandidateRecord:
    name, chosen, judged = candidate.id, outcome.chosen, outcome.judged
    if outcome.missed:
        return CandidateRecord(name, "not made", missed_words(walk.plan.contract))
    artifact = walk.artifacts.get(candidate.model)
    size = None if artifact is None else artifact.size
    if name in chosen.untried:
        return CandidateRecord(name, NOT_TRIED, chosen.untried[name])
    if name in chosen.rejected:
        return CandidateRecord(name, "rejected", chosen.rejected[name], size)
    figures, choice = shown(chosen.measured[name]), chosen.choice(name)
    if not choice.shortlisted:
        return CandidateRecord(name, "measured", choice.because, size, figures)
    judgement = judged.judgements.get(name)
    if judgement is None:
        return CandidateRecord(name, "shortlisted", judged.stopped or _STOPPED, size, figures)
    released, waived = name in judged.released.values(), outcome.waived.get(name, ())
    kept = "the most aggressive candidate judged that keeps the contract"
    if waived:
        kept = f"waivers let {', '.join(gate.gate for gate in waived)} through"
    because = kept if released else _why_not(walk, judged, candidate)
    return CandidateRecord(
        name, "released" if released else "judged", because, size, figures, judgement,
        gains=gains(walk, candidate), parts=parts(walk, candidate), waived=waived,
        reductions=reductions(walk, candidate),
    )  # fmt: skip


def _why_not(walk: Walk, judged: JudgedSearches, candidate: Candidate) -> str:
    judgement = judged.judgements[candidate.id]
    if failure := judging_failure(walk, candidate):
        return f"it could not be judged: {failure}"
    if not judgement.released:
        return _blocked(walk.plan.contract, judgement)
    return "it keeps the contract; a more aggressive candidate keeps it too"


def missed_by_original(contract: Contract, judged: JudgedSearches) -> tuple[str, ...]:
    """Return the gates that keep the candidates back, where the original itself misses all of them; else nothing."""
    ended = [judged.judgements[name] for name in judged.best.values() if name in judged.judgements]
    parts = [_parted(contract, judgement) for judgement in ended if not judgement.released]
    if any(own for own, _ in parts):
        return ()
    return tuple(dict.fromkeys(name for _, theirs in parts for name in theirs))


def _parted(contract: Contract, judgement: Judgement) -> tuple[list[str], list[str]]:
    """Part the gates that keep a candidate back into those that it misses, and those that the original misses too."""
    gates = {gate.id: gate for gate in contract.gates}
    results = {result.gate: result for result in judgement.results}
    kept_back = blockers(contract, judgement)
    theirs = [name for name in kept_back if name in gates and original_misses(gates[name], results[name])]
    return [name for name in kept_back if name not in theirs], theirs


def _blocked(contract: Contract, judgement: Judgement) -> str:
    """Say which gates keep a candidate back, and which of them the original itself misses."""
    own, theirs = _parted(contract, judgement)
    texts = [f"the contract is not kept: {', '.join(own)}"] * bool(own)
    texts += [f"the original itself misses {', '.join(theirs)}"] * bool(theirs)
    return "; ".join(texts)


def ladder(walk: Walk, outcome: Outcome, became: Sequence[CandidateRecord]) -> tuple[LadderRung, ...]:
    """Return every rung that the recipe asks for, from fast to exact; () where it asks for no ladder.

    What was not timed comes last: nothing says where it belongs.
    """
    records = {record.candidate: record for record in became}
    rungs = [_rung(walk, outcome, search, records) for search in walk.plan.searches if search.rung]
    return tuple(sorted(rungs, key=lambda rung: math.inf if rung.seconds is None else rung.seconds))


def _rung(walk: Walk, outcome: Outcome, search: CandidateSearch, records: Mapping[str, CandidateRecord]) -> LadderRung:
    ended = outcome.judged.released.get(search.name) or outcome.judged.best.get(search.name)
    if ended is None:
        reasons = dict.fromkeys(records[name].because for name in search.candidates)
        return LadderRung(search.rung, because="; ".join(reasons))
    record, candidate = records[ended], _candidate(walk, ended)
    judgement, released = record.judgement, search.name in outcome.judged.released
    unproven = released and judgement is not None and not judgement.proven
    memory = record.figures.get("peak_memory")
    return LadderRung(
        rung=search.rung,
        candidate=ended,
        released=released,
        verdict=WAIVED if record.waived else _rung_verdict(judgement, unproven=unproven),
        because="" if released else record.because,
        file=released_path(search.name, walk.manifest(candidate.model)) if released else "",
        size=record.size,
        seconds=record.figures.get("latency_p50"),
        gain=latency_gain(walk, candidate),
        peak_bytes=None if memory is None else round(memory),
        executed=dict(sorted(Counter(layer.executed for layer in record.layers).items())),
    )


def _rung_verdict(judgement: Judgement | None, *, unproven: bool) -> str:
    return "" if judgement is None else "NOT PROVEN" if unproven else judgement.verdict


def _candidate(walk: Walk, name: str) -> Candidate:
    return next(candidate for candidate in walk.plan.candidates if candidate.id == name)


def observed(walk: Walk) -> list[dict[str, Any]]:
    """Return what steps saw inside models, and why what was to be seen was not: `original.summary` is one's id."""
    rows = []
    for step in walk.plan.steps:
        if step.stage == OBSERVING_STAGE and (step.id in walk.errors or f"{step.id}.seen" in walk.artifacts):
            failed = walk.reason(step.id) if step.id in walk.errors else ""
            value = walk.value_if_there(f"{step.id}.seen")
            rows.append(plain(ModelInside(step.operator, step.id.rpartition(".")[0], value, failed)))
    return rows
