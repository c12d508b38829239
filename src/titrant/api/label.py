"""Write the rows whose labels would prove what a run left open."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.runtime.contract.evidence import Unlabeled
    from titrant.runtime.store.artifacts import Store
    from titrant.runtime.values import Tables
    from titrant.schema.plan import Plan, Step
    from titrant.schema.record import Artifact


@dataclass(frozen=True)
class LabelFile:
    """Which rows were written where.

    `rows` to be labeled, `labeled` of them already, of `unlabeled` rows; `differing` counts by candidate the rows that
    it decides otherwise than the original; `open` are gates that these labels can help to prove, with what was seen.
    Where no row needs a label nothing is written.
    """

    file: Path
    run: str
    rows: int
    labeled: int
    unlabeled: int
    differing: Mapping[str, int]
    open: Mapping[str, str]


def label(run: str, out: Path | str, *, candidate: str | None = None) -> LabelFile:
    """Write the rows without labels that the original and a judged candidate decide otherwise, for people to label.

    What the models answer is not written, and the order is random: either would lead the labeler. Raises RecipeError
    X437 where the run has no rows without labels, X438 where no candidate, or not this one, was judged on them, X439
    where the file is there already.
    """
    import tempfile

    from titrant.api.runs import damaged, find_run, read_json
    from titrant.runtime.contract.unlabeled.labeling import rows_to_label, shown_columns
    from titrant.runtime.data.row_labels import names_of, write_rows
    from titrant.runtime.store.artifacts import DamagedError, Store
    from titrant.runtime.store.home import open_home, row_key
    from titrant.runtime.store.run_folder import read_record
    from titrant.schema.plan import Plan
    from titrant.schema.values.canonical import read_back

    out = Path(out)
    if out.exists():
        message = f"{out} is there already, and may hold labels"
        raise RecipeError(Diagnostic("X439", message, help="name another file, or remove this one"))
    home = open_home()
    folder = find_run(run, home.path, ended=True)
    plan, record = read_back(Plan, read_json(folder / "plan.json")), read_record(folder)
    if record is None:
        message = f"the run {folder.name} did not come to its end"
        raise RecipeError(Diagnostic("X438", message, help="run its recipe again: finished steps are reused"))
    made = {
        f"{step.step}.{port}": artifact
        for step in record.steps
        if step.result is not None
        for port, artifact in step.result.outputs.items()
    }
    judging = _judging(plan, made, candidate, folder.name)
    with tempfile.TemporaryDirectory(dir=home.unfinished) as scratch:
        try:
            stored = _Stored(Store(home), made, Path(scratch))
            answers = {name: stored.answers(step) for name, step in judging.items()}
            tables = stored.tables(next(iter(judging.values())))
        except DamagedError as error:
            raise damaged(folder / "record.json", f"{error}") from None
    chosen = rows_to_label(answers, next(iter(judging.values())).seed)
    names = tables.sources["names"].columns
    own = names.get("own")
    of_rows = names_of(names["content"], b"" if own is not None else row_key(home), own)
    if len(chosen.places):
        columns = shown_columns(tables.sources["unlabeled"], tables.sources["names"], chosen.places.tolist())
        labels = [chosen.labels.get(place, "") for place in chosen.places.tolist()]
        _write(out, write_rows(columns, [of_rows[place] for place in chosen.places], labels))
    from titrant.schema.labels import LABELS_OF_DIFFERENT, helped_by
    from titrant.schema.open_looks import OPEN

    gates, always_valid = plan.contract.gates, plan.contract.looks == OPEN
    helped = {gate.id for gate in gates if helped_by(gate, always_valid=always_valid) == LABELS_OF_DIFFERENT}
    still_open = {
        result.gate: result.reason
        for item in record.candidates
        if item.judgement is not None and item.candidate in judging
        for result in item.judgement.results
        if result.gate in helped and result.verdict != "PASS"
    }
    return LabelFile(
        out, folder.name, len(chosen.places), len(chosen.labels), len(of_rows), chosen.differing, still_open
    )


def _judging(plan: "Plan", made: "Mapping[str, Artifact]", candidate: str | None, run: str) -> "dict[str, Step]":
    """Return the steps that judged candidates on rows without labels, by candidate."""
    steps = {step.id: step for step in plan.steps}
    judging = {item.id: steps[item.judgement.rpartition(".")[0]] for item in plan.candidates}
    if not any("unlabeled" in step.inputs for step in judging.values()):
        message = f"the run {run} has no rows without labels"
        raise RecipeError(Diagnostic("X437", message, help="name such rows as `data.unlabeled`, and run again"))
    judged = {name: step for name, step in judging.items() if step.inputs["unlabeled_candidate"] in made}
    if candidate is not None and candidate not in judged:
        message = f"{candidate} was not judged in the run {run}"
        raise RecipeError(Diagnostic("X438", message, help=f"judged: {', '.join(judged) or 'none'}"))
    if not judged:
        message = f"no candidate was judged in the run {run}"
        raise RecipeError(Diagnostic("X438", message, help="its report says why; mend that and run again"))
    return judged if candidate is None else {candidate: judged[candidate]}


@dataclass(frozen=True)
class _Stored:
    """What a run's steps made, by "step.port", in the store."""

    store: "Store"
    made: "Mapping[str, Artifact]"
    scratch: Path

    def get(self, step: "Step", port: str) -> object:
        """Load what a step read."""
        artifact = self.made[str(step.inputs[port])]
        return self.store.get(artifact, self.scratch / artifact.digest)

    def answers(self, step: "Step") -> "Unlabeled":
        """Read both models' decisions as the step that judged them did."""
        from titrant.runtime.contract.reading import Reading
        from titrant.runtime.contract.unlabeled.labeling import gather_unlabeled

        reading = Reading(**{name: step.params[name] for name in Reading.model_fields if name in step.params})
        outputs = (self.get(step, "unlabeled_original"), self.get(step, "unlabeled_candidate"))
        labels = self.get(step, "labels") if "labels" in step.inputs else {}
        return gather_unlabeled(reading, self.get(step, "unlabeled"), outputs, self.get(step, "point"), labels)  # type: ignore[arg-type]

    def tables(self, step: "Step") -> "Tables":
        """Read what stands in the rows, and what names them."""
        reference = str(step.inputs["unlabeled"]).rpartition(".")[0]
        artifact = self.made[f"{reference}.tables"]
        tables: Tables = self.store.get(artifact, self.scratch / artifact.digest)
        return tables


def _write(out: Path, text: str) -> None:
    """Write a new file that only its owner can read: it holds rows."""
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        message = f"{out} cannot be written: {error.strerror}"
        raise RecipeError(Diagnostic("X439", message, help="name a file in a folder that is there")) from None
