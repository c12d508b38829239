"""The record of a run: results of its steps, measurements, judgements and the verdict, and the artifacts they name."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from titrant.schema.contract.waivers import WaivedGate
from titrant.schema.gain import Gain, speed_words
from titrant.schema.gain_parts import GainParts, ReductionGain
from titrant.schema.gate import Judgement
from titrant.schema.plan import Prediction
from titrant.schema.values.canonical import sha256
from titrant.schema.values.dependencies import PACKAGE, VARIABLE
from titrant.schema.values.frozen import dataclass, replace


@dataclass(frozen=True)
class Artifact:
    """A stored value: its kind, the BLAKE3 digest of its manifest (hexadecimal), and its size in bytes."""

    kind: str
    digest: str
    size: int


@dataclass(frozen=True)
class Measurement:
    """A number worth keeping; the unit is "" for fractions, ratios and counts."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True)
class Dependency:
    """What user code rests on, as `titrant.schema.values.dependencies` writes it, and its BLAKE3 digest or version."""

    path: str
    digest: str


# Files whose names are the user's own words: what else code opens may be called by a patient's name.
_MODULES = (".py", ".pyi", ".so", ".pyd")


def is_named(dependency: Dependency) -> bool:
    """Tell whether a dependency may be shown by its name: a module, package or variable, no file that code opened."""
    return dependency.path.startswith((PACKAGE, VARIABLE)) or dependency.path.endswith(_MODULES)


def files_read_by(operator: str) -> str:
    """Name all the files that an operator's code read, as one, without their names."""
    return f"files that {operator} read"


@dataclass(frozen=True)
class StepMemory:
    """What the worker held when a step had ended, without what no later one reads, and how much more than before it.

    `held_bytes` and `grown_bytes` are of resident memory; `device_bytes` is what tensors hold on accelerators, None
    where the worker has used none.
    """

    held_bytes: int
    grown_bytes: int
    device_bytes: int | None = None


@dataclass(frozen=True)
class StepResult:
    """What one step gave: artifacts by port, measurements, what it cost, and the user files that it depends on.

    `seconds` and `peak_bytes` are of the work itself. Libraries that the worker had to load for it first are apart, in
    `loads`, with the seconds that each took. `disk_seconds` are those of the work in which it waited until what it gave
    was on the disk. `predicted` is what was predicted before it ran. `memory` is None in
    results of earlier versions.
    """

    key: str
    operator: str
    outputs: Mapping[str, Artifact]
    measurements: tuple[Measurement, ...] = ()
    seconds: float = 0.0
    peak_bytes: int = 0
    dependencies: tuple[Dependency, ...] = ()
    finished: str = ""  # UTC, ISO 8601
    loads: Mapping[str, float] = field(default_factory=dict)
    predicted: Prediction = Prediction()
    not_reused: str = ""  # why it counts for its own run only; "" where later runs reuse it
    memory: StepMemory | None = None
    disk_seconds: float = 0.0


def without_file_names(result: StepResult) -> StepResult:
    """Return a result as it may leave the home: the files that its code read count as one, by all their contents."""
    named = tuple(item for item in result.dependencies if is_named(item))
    digests = sorted(item.digest for item in result.dependencies if not is_named(item))
    read = (Dependency(files_read_by(result.operator), sha256(digests)),) if digests else ()
    return replace(result, dependencies=(*named, *read))


@dataclass(frozen=True)
class StepRecord:
    """One step of one run; status is finished, reused, failed, rejected (its candidate was) or unused."""

    step: str
    status: str
    key: str = ""
    result: StepResult | None = None
    error: str = ""


# What is planned for a layer whose precision nobody asked for, and what was read back of one that could not be found.
ENGINES_CHOICE, UNKNOWN = "engine's choice", "unknown"


@dataclass(frozen=True)
class LayerPrecision:
    """A layer of the original, the precision in which it was planned to run and the one in which it does.

    Both are number formats (fp32, int8), or ENGINES_CHOICE and UNKNOWN. `name` is "" for what the engine runs beside
    the original's layers, `engine_op` "" for a layer that was not found.
    """

    name: str
    planned: str
    executed: str
    engine_op: str


def is_unlike(layer: LayerPrecision) -> bool:
    """Whether a layer runs otherwise than was asked for."""
    return layer.executed not in (layer.planned, UNKNOWN) and layer.planned != ENGINES_CHOICE


def layers_of(executed: Mapping[str, Any] | None) -> tuple[LayerPrecision, ...]:
    """Read what `validate.executed` gave; () where nobody asked."""
    return tuple(LayerPrecision(**row) for row in (executed or {}).get("layers", ()))


def share_as_planned(layers: Sequence[LayerPrecision]) -> float | None:
    """Return the share of the layers that run as planned, of those of which that is asked and that were found.

    None where there is none.
    """
    read_back = {layer.name for layer in layers if layer.planned != ENGINES_CHOICE and layer.executed != UNKNOWN}
    wrong = {layer.name for layer in layers if is_unlike(layer)}
    return 1 - len(wrong) / len(read_back) if read_back else None


# What became of a candidate that would have mended another, where nobody asked for it.
NOT_TRIED = "not tried"


@dataclass(frozen=True)
class CandidateRecord:
    """What became of a candidate; status is released, judged, shortlisted, measured, rejected, not tried
    (nobody asked for it) or not made.

    `gains` compare one that was judged with the original and with the plain conversion in the same engine; `parts` tell
    its gain over the original apart, and `reductions` say what each gave by itself. `layers` are as its engine runs
    them; `left` are those that a mixture leaves in higher precision.
    """

    candidate: str
    status: str
    because: str
    size: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)  # latency_p50 … in seconds, bytes, fractions
    judgement: Judgement | None = None
    gains: tuple[Gain, ...] = ()
    layers: tuple[LayerPrecision, ...] = ()
    parts: GainParts | None = None
    left: tuple[str, ...] = ()
    waived: tuple[WaivedGate, ...] = ()  # the gates that did not pass and that waivers let through
    reductions: tuple[ReductionGain, ...] = ()


@dataclass(frozen=True)
class RowSample:
    """Which rows there are: how many different ones, and the smallest of their digests, sorted.

    `numbers` are the smallest digests of what stands in them, whatever the columns are called; () where too few differ.
    `single` says whether each is a unit of its own: none stands twice, and none shares a unit with another.
    """

    rows: int
    ids: tuple[str, ...]
    single: bool = True
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluationRows:
    """The rows that judge: which they are, and the digest of the tables and the split that they come from."""

    sample: RowSample
    evaluation: str


@dataclass(frozen=True)
class LookSubject:
    """Digests of what is judged: of what a recipe makes and asks, and of the very files and the gates."""

    recipe: str
    files: str


@dataclass(frozen=True)
class Look:
    """One look at evaluation rows; its number is one above the highest that a tenth of them carried before.

    `spent` adds up the error rates (one minus the confidence) of the looks with these numbers, its own the last. `rows`
    counts different rows, `ids` and `numbers` are those of `RowSample`. `with_ledger` is False where neither the home
    nor a lock knew of any look before. `share` is the error rate that an open look's own verdicts may use (0: it is a
    planned one), and `models` how many were charged by open looks at these rows.
    """

    number: int
    spent: float
    judged: LookSubject
    rows: int
    ids: tuple[str, ...]
    with_ledger: bool = True
    share: float = 0.0
    models: int = 0
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInside:
    """What one step saw inside a model: "original" or a candidate's id; `failed` says why it saw nothing."""

    operator: str
    subject: str
    value: Any = None
    failed: str = ""


@dataclass(frozen=True)
class LadderRung:
    """One rung: the candidate that its search ended with ("" for none), and what is known of that file.

    `verdict` is that of its own judgement, "NOT PROVEN" where it is released without proof, "WAIVED" where by waivers,
    and "" where it was not judged; `because` says why it is not released. `seconds` is the median of one batch, `gain`
    its paired comparison with the plain conversion in its engine, or with the original where it is that itself.
    `executed` counts layers by the precision that the engine runs them in. `file` lies in the run's `outputs`, "" for
    one that is not released.
    """

    rung: str
    candidate: str = ""
    released: bool = False
    verdict: str = ""
    because: str = ""
    file: str = ""
    size: int | None = None
    seconds: float | None = None
    gain: Gain | None = None
    peak_bytes: int | None = None
    executed: Mapping[str, int] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """Say in a word what became of it."""
        return self.verdict if self.released else "not released"

    @property
    def speed(self) -> str:
        """Say how fast it is beside the plain conversion: "2.1× faster than plain ONNX (1.9–2.3)"; "" unmeasured."""
        return "" if self.gain is None else f"{speed_words(self.gain)}, against {self.gain.title}"

    @property
    def precisions(self) -> str:
        """Say what its engine runs: "4 layers in fp32, 1 in int8"; "" where nobody asked."""
        counts = [f"{count} in {precision}" for precision, count in self.executed.items()]
        return f"layers: {', '.join(counts)}" if counts else ""


@dataclass(frozen=True)
class TrackerRecord:
    """How one tracker followed a run: of `points` that the journal had for it, `sent` reached it.

    `mode` is what it ran in (online, offline, disabled; local for files of this machine), `where` the folder or the
    address, without a login. `code`, `because` and `remedy` say what kept it from more; "" where nothing did.
    """

    tracker: str
    mode: str = ""
    where: str = ""
    sent: int = 0
    points: int = 0
    code: str = ""
    because: str = ""
    remedy: str = ""

    @property
    def words(self) -> str:
        """Say how it fared, in a line."""
        if self.mode == "disabled":
            return f"{self.tracker}: disabled"
        taken = f"{self.sent} of {self.points} points" if self.points else "nothing"
        place = f" in {self.where}" if self.where else ""
        if not self.code:
            return f"{self.tracker}: {self.mode}, {taken}{place}"
        why = "; ".join(filter(None, (self.because, self.remedy)))
        return f"warning[{self.code}]: {self.tracker} took {taken}{place}: {why}"


@dataclass(frozen=True)
class RunRecord:
    """A whole run: exit is the command line's exit code, `verdict` PASS, NOT PROVEN, WAIVED, FAIL or INCONCLUSIVE.

    `original` says how the original itself was judged, where the contract asks something of it alone; where it is not
    good enough no candidate was made. `original_misses` are the gates that keep every candidate back where the original
    itself misses all of them, so that no candidate is to blame.
    """

    run: str
    name: str
    plan_digest: str
    verdict: str
    exit: int
    steps: tuple[StepRecord, ...]
    candidates: tuple[CandidateRecord, ...]
    released: tuple[str, ...]  # candidate ids, one for each search
    executed: int  # steps that really ran
    reused: int
    seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)
    original: Judgement | None = None
    original_misses: tuple[str, ...] = ()
    look: Look | None = None  # at evaluation rows; None where nothing was judged on them
    withheld: tuple[str, ...] = ()  # the names of files that were asked for and not released, where others were
    unmade: tuple[str, ...] = ()  # those of them of which no candidate could be made
    judged_on: str = ""  # the day (UTC, ISO 8601) at which waivers were read; "" without any
    ladder: tuple[LadderRung, ...] = ()  # variants to step between, from fast to exact; () where none are asked for
    # How trackers fared, who end after the run itself: kept beside the record, whose digest the journal names by then.
    tracking: tuple[TrackerRecord, ...] = ()

    @property
    def missed(self) -> bool:
        """Whether the original itself is not good enough, so that nothing was made and nothing put out."""
        return self.original is not None and not self.original.released
