"""What the benchmark must reach, held against what was measured: one verdict a promise, as Markdown and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from measure import AUTO, Measured, Ran

from titrant.runtime.contract.statistics.paired_runs import PairedRatio, paired_ratio
from titrant.schema.values.frozen import dataclass

# auto may be this much slower than the best of an exhaustive trial, and take this share of its time.
WORSE, SHARE = 0.05, 1 / 3
# parameters from which a size holds → the most of the fp32 file that the smallest file of 8 bits may have
SIZES = ((5_000_000, 0.27), (200_000, 0.31))

# instruction set → model → how many times faster than fp32 in onnxruntime its release is at least, one case at a time;
# a processor is held to the first of these that it has
SPEEDS: Mapping[str, Mapping[str, float]] = {
    "amx_int8": {"resnet20": 2.3, "encoder": 1.9, "tabular": 3.8},
    "avx512_vnni": {"resnet20": 1.5},
    "avx_vnni": {"resnet20": 1.5},
}


@dataclass(frozen=True)
class Promise:
    """One promise of one model: what was found in words, and whether that keeps it (None: nothing to judge by)."""

    model: str
    name: str
    found: str
    kept: bool | None

    @property
    def word(self) -> str:
        """Say it in a word."""
        return {True: "kept", False: "MISSED", None: "–"}[self.kept]


def seconds(measured: Measured, name: str, batch: int) -> float | None:
    """Return the median CPU seconds of one run; None where it was not timed."""
    rounds = measured.rounds.get(name, {}).get(str(batch))
    return median(rounds) if rounds else None


def ratio(measured: Measured, mine: str, theirs: str, batch: int) -> PairedRatio | None:
    """Return how many times faster one release is than another, round by round, with its 95 % interval."""
    both = [measured.rounds.get(name, {}).get(str(batch), []) for name in (mine, theirs)]
    return paired_ratio(both[0], both[1])


def fastest(measured: Measured, runs: list[Ran], batch: int = 1) -> Ran | None:
    """Return the fastest of some runs that released something."""
    timed = [(took, ran.name, ran) for ran in runs if (took := seconds(measured, ran.name, batch)) is not None]
    return min(timed, key=lambda item: item[:2])[2] if timed else None


def promises(measured: Measured, parameters: int, instructions: Sequence[str]) -> Iterator[Promise]:
    """Judge one model on a processor with these instruction sets."""
    runs = list(measured.runs)
    auto, others = runs[0], runs[1:]
    plain = [ran for ran in others if ran.method == "none"]
    yield _against(measured, "auto against the best of all methods", fastest(measured, others), WORSE)
    yield _against(measured, "auto against the best plain conversion", fastest(measured, plain), 0.0)
    whole = sum(ran.cpu for ran in others)
    share = auto.cpu / whole if whole else 0.0
    yield Promise(
        measured.model, "time of auto / of all methods",
        f"{auto.cpu:.0f} s / {whole:.0f} s = {share:.2f} of the CPU time", share <= SHARE,
    )  # fmt: skip
    yield _speed(measured, instructions)
    yield _size(measured, parameters)
    yield from _layers(measured)


def _against(measured: Measured, name: str, rival: Ran | None, may_lose: float) -> Promise:
    """Compare at batch 1; kept unless the whole interval lies below what may be lost."""
    if rival is None:
        return Promise(measured.model, name, "no other released anything", None)
    compared = ratio(measured, AUTO, rival.name, 1)
    if compared is None:
        return Promise(measured.model, name, f"auto released nothing; {rival.name} did", False)
    words = f"{compared.estimate:.2f} × {rival.name} ({compared.lower:.2f}–{compared.upper:.2f})"
    return Promise(measured.model, name, words, compared.upper >= 1 - may_lose)


def _speed(measured: Measured, instructions: Sequence[str]) -> Promise:
    """Hold what `auto` released against fp32 in onnxruntime; kept unless the whole interval lies below what is due."""
    name = "speed of auto over fp32 in onnxruntime"
    kind = next((kind for kind in SPEEDS if kind in instructions), "")
    least = SPEEDS.get(kind, {}).get(measured.model)
    compared = ratio(measured, AUTO, _base(measured), 1)
    if compared is None:
        return Promise(measured.model, name, "one of them released nothing", None if least is None else False)
    words = f"{compared.estimate:.2f} × ({compared.lower:.2f}–{compared.upper:.2f})"
    due = "" if least is None else f", {least:g} is due with {kind}"
    return Promise(measured.model, name, words + due, None if least is None else compared.upper >= least)


def _base(measured: Measured) -> str:
    """Name the run that released fp32 in onnxruntime, "" where none did."""
    return next((ran.name for ran in measured.runs if ran.method == "none" and ran.engine == "onnxruntime"), "")


def _size(measured: Measured, parameters: int) -> Promise:
    """Hold the smallest released file of 8 bits against fp32 in ONNX."""
    name = "size of the smallest of 8 bits / fp32"
    plain = next((ran.size for ran in measured.runs if ran.method == "none" and ran.engine == "onnxruntime"), 0)
    eight = [ran for ran in measured.runs if ran.size and ran.method not in ("none", "cast") and _eight(ran)]
    limit = next((most for least, most in SIZES if parameters >= least), None)
    if not plain or not eight:
        return Promise(measured.model, name, "none of 8 bits was released", None)
    smallest = min(eight, key=lambda ran: ran.size)
    share = smallest.size / plain
    return Promise(
        measured.model, name, f"{share:.3f} by {smallest.name}, {smallest.size:,} of {plain:,} bytes",
        None if limit is None else share <= limit,
    )  # fmt: skip


def _eight(ran: Ran) -> bool:
    return not any(width in ran.name for width in ("bf16", "fp16", " 4", " 16"))


def _layers(measured: Measured) -> Iterator[Promise]:
    counted = [(ran, ran.layers) for ran in measured.runs if ran.exit == 0]
    read = [(ran, layers) for ran, layers in counted if layers is not None]
    name = "layers that ran as planned"
    if not read:
        yield Promise(measured.model, name, "the record does not say", None)
        return
    wrong = [f"{ran.name} {kept} of {all_of}" for ran, (kept, all_of) in read if kept != all_of]
    found = "; ".join(wrong) or f"all {sum(all_of for _, (_, all_of) in read)}, in {len(read)} files"
    yield Promise(measured.model, name, found, not wrong)


def markdown(all_measured: list[Measured], parameters: Mapping[str, int], cpu: str, instructions: Sequence[str]) -> str:
    """Write the table of promises, and of every run with its speed against fp32 in onnxruntime."""
    lines = [
        f"# Quantization, measured on {cpu} ({', '.join(instructions)})",
        "",
        "| model | promise | found | |",
        "|---|---|---|---|",
    ]
    for measured in all_measured:
        lines += [
            f"| {one.model} | {one.name} | {one.found} | {one.word} |"
            for one in promises(measured, parameters[measured.model], instructions)
        ]
    head = ("model", "asked", "released", "size", "batch 1", "batch 32", "CPU s", "")
    lines += ["", "Speed is over fp32 in onnxruntime, by the median of the paired rounds with its 95 % interval.", ""]
    lines += [f"| {' | '.join(head)} |", "|---|---|---|---:|---|---|---:|---|"]
    for measured in all_measured:
        lines += [_row(measured, ran) for ran in measured.runs]
    return "\n".join(lines) + "\n"


def _row(measured: Measured, ran: Ran) -> str:
    base = _base(measured)
    cells = []
    for batch in (1, 32):
        compared = ratio(measured, ran.name, base, batch)
        took = seconds(measured, ran.name, batch)
        alone = "" if took is None else f"{took * 1e6:.0f} µs"
        cells.append(
            alone if compared is None
            else f"{compared.estimate:.2f} ({compared.lower:.2f}–{compared.upper:.2f}), {alone}"
        )  # fmt: skip
    released = f"{ran.released} in {ran.engine}" if ran.released else f"nothing (exit {ran.exit})"
    size = f"{ran.size:,}" if ran.size else ""
    because = ran.because.replace("|", "¦")
    return f"| {measured.model} | {ran.name} | {released} | {size} | {' | '.join(cells)} | {ran.cpu:.1f} | {because} |"


def as_json(
    all_measured: list[Measured], parameters: Mapping[str, int], instructions: Sequence[str]
) -> list[dict[str, Any]]:
    """Return everything, with medians and the spread of the rounds in place of the rounds."""
    from titrant.schema.values.canonical import plain

    found = []
    for measured in all_measured:
        value = plain(measured)
        value["rounds"] = {
            name: {batch: _spread(rounds) for batch, rounds in by_batch.items()}
            for name, by_batch in measured.rounds.items()
        }
        value["promises"] = [
            plain(one) | {"word": one.word} for one in promises(measured, parameters[measured.model], instructions)
        ]
        found.append(value)
    return found


def _spread(rounds: list[float]) -> dict[str, float]:
    ordered = sorted(rounds)
    return {
        "median": median(ordered),
        "lower_quartile": ordered[len(ordered) // 4],
        "upper_quartile": ordered[3 * len(ordered) // 4],
        "rounds": len(ordered),
    }
