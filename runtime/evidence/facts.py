"""Gather what a pack is made of: the report's record, what the run put out with its SHA-256, and what it ran in."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any

from titrant.runtime.store.run_folder import MANIFEST, RECORD
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.gate import Gate, GateResult, Judgement
from titrant.schema.plan import Candidate, Plan, Step
from titrant.schema.record import CandidateRecord, RunRecord, StepResult
from titrant.schema.values.canonical import WrongValueError, read_back
from titrant.schema.values.frozen import dataclass

# What of a run, beside what it put out, the pack vouches for; each is there when a pack is made.
RECORDS = ("report.json", RECORD, "plan.json", "hardware.json", "environment.json", "recipe.yaml")
# What the report leaves out of a run, since it differs between two runs of one plan.
_OWN = ("run", "executed", "reused", "seconds", "environment")


@dataclass(frozen=True)
class FileDigest:
    """A file of a run: its path below the run's folder, its SHA-256 (hexadecimal) and its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ReleasedModel:
    """A model that was released: what was planned, what became of it, how it was judged, and the files that it is."""

    candidate: Candidate
    became: CandidateRecord
    judgement: Judgement
    kind: str
    path: str  # below the run's folder: a file, or a folder of the files
    files: tuple[FileDigest, ...]

    @property
    def size(self) -> int:
        """All its files together, in bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class RunFacts:
    """A run as its report shows it: figures of groups that are too small are not there to be told.

    `placed` are all files of `outputs`, or of `quarantine` where nothing was released; `values` is the report's part
    of that name. `environment` is what environment.json says.
    """

    plan: Plan
    run: RunRecord
    values: Mapping[str, Any]
    recipe_text: str
    manifest: Mapping[str, Any]
    placed: tuple[FileDigest, ...]
    records: tuple[FileDigest, ...]
    environment: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """The plan's steps by id."""
        return {step.id: step for step in self.plan.steps}

    @cached_property
    def results(self) -> Mapping[str, StepResult]:
        """What steps gave, by the step's id."""
        return {step.step: step.result for step in self.run.steps if step.result is not None}

    @cached_property
    def gates(self) -> Mapping[str, Gate]:
        """The contract's gates by id."""
        return {gate.id: gate for gate in self.plan.contract.gates}

    @cached_property
    def released(self) -> tuple[ReleasedModel, ...]:
        """The models that the run released, in the order of its list of files."""
        planned = {candidate.id: candidate for candidate in self.plan.candidates}
        became = {record.candidate: record for record in self.run.candidates}
        models = self.manifest.get("models", ()) if self.run.released else ()
        return tuple(
            ReleasedModel(
                planned[model["candidate"]],
                became[model["candidate"]],
                judgement,
                model["kind"],
                f"outputs/{model['file']}",
                tuple(self._files_of(f"outputs/{model['file']}")),
            )
            for model in models
            if (judgement := became[model["candidate"]].judgement) is not None
        )

    @cached_property
    def judged(self) -> tuple[CandidateRecord, ...]:
        """The candidates that were judged on evaluation rows."""
        return tuple(record for record in self.run.candidates if record.judgement is not None)

    @property
    def libraries(self) -> Mapping[str, str]:
        """The libraries that can change a result, with the versions that this run used."""
        return self.plan.hardware.packages

    @property
    def began(self) -> str:
        """When the run began, in UTC as ISO 8601: its id says so."""
        stamp = self.run.run[:16]
        return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}Z"

    @property
    def finished(self) -> str:
        """When the last of its steps finished, in UTC as ISO 8601; "" where none did."""
        return max((result.finished for result in self.results.values()), default="")

    def steps_of(self, *operators: str) -> tuple[Step, ...]:
        """Return the steps of some operators, in the plan's order."""
        return tuple(step for step in self.plan.steps if step.operator in operators)

    def size_of(self, reference: str) -> int | None:
        """Return the bytes of what a "step.port" names; None where it was not made."""
        step, _, port = reference.rpartition(".")
        made = self.results[step].outputs.get(port) if step in self.results else None
        return None if made is None else made.size

    def rows(self) -> Mapping[str, int]:
        """Return how many rows each role of the split has; {} where nothing was split."""
        split = next((self.results[step.id] for step in self.steps_of("data.split") if step.id in self.results), None)
        measured = () if split is None else split.measurements
        return {item.name.removeprefix("rows."): round(item.value) for item in measured if item.name[:5] == "rows."}

    def _files_of(self, path: str) -> Iterator[FileDigest]:
        yield from (file for file in self.placed if file.path == path or file.path.startswith(f"{path}/"))


def answered(facts: RunFacts, judgement: Judgement) -> Iterator[tuple[Gate, GateResult]]:
    """Yield every gate of a judgement with its answer."""
    yield from ((facts.gates[result.gate], result) for result in judgement.results if result.gate in facts.gates)


def gather(folder: Path, placed: Path | None = None) -> RunFacts:
    """Read a run's folder; `placed` is where what it puts out lies now, if not yet in its place.

    Raises StepError X581 where a file of it is missing, cannot be read, or does not say the same as another.
    """
    report = _read(folder / "report.json")
    recorded = _read(folder / RECORD)
    try:
        shown = report["record"]
        run = read_back(RunRecord, {**shown["run"], **{name: recorded[name] for name in _OWN}})
        plan = read_back(Plan, shown["plan"])
        values, text = shown["values"], shown["recipe_text"]
        same = [recorded[name] == shown["run"][name] for name in ("verdict", "exit", "released", "plan_digest")]
    except (WrongValueError, KeyError, TypeError) as error:
        raise _unreadable(folder / "report.json", f"{type(error).__name__}: {error}") from None
    if not all(same):
        raise _unreadable(folder / RECORD, "it and report.json name another verdict, release or plan")
    name = "outputs" if run.released else "quarantine"
    place = folder / name if placed is None else placed
    there = (place / MANIFEST).is_file()
    return RunFacts(
        plan=plan,
        run=run,
        values=values,
        recipe_text=text,
        manifest=_read(place / MANIFEST) if there else {},
        placed=tuple(digests_below(place, name)) if there else (),
        records=tuple(digest_of(folder / file, file) for file in RECORDS),
        environment=_read(folder / "environment.json"),
    )


def digests_below(folder: Path, name: str) -> Iterator[FileDigest]:
    """Digest every file below a folder, sorted; `name` is what their paths begin with."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield digest_of(path, f"{name}/{path.relative_to(folder).as_posix()}" if name else path.name)


def digest_of(path: Path, name: str) -> FileDigest:
    """Digest one file with SHA-256; StepError X581 where it cannot be read."""
    try:
        with path.open("rb") as file:
            return FileDigest(name, file_digest(file, "sha256").hexdigest(), path.stat().st_size)
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(value, dict):
        raise _unreadable(path, "it holds no object")
    return value


def _unreadable(path: Path, why: str) -> StepError:
    message = f"no evidence can be made from {path.name} of the run {path.parent.name}: {why}"
    advice = "run the recipe again: what is stored is verified and reused"
    return StepError(Diagnostic("X581", message, help=advice))
