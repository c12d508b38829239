"""What titration must reach, held against what was measured: one verdict a promise, as Markdown and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from figures import Promise
from measure import Ran
from tried import Titrated

from titrant.runtime.contract.statistics.paired_runs import PairedRatio, paired_ratio

TITRANT, NNCF, PLAIN = "titrant", "nncf", "plain"
# Points that a repair may lose, evaluations of a search, the share of NNCF's, and what predictions may be off.
REPAIRED_LOSES, EVALUATIONS, SHARE, MEDIAN_ERROR, WORST_ERROR = 0.2, 5, 1 / 3, 0.05, 0.10
SEEDS_KEPT = 19 / 20


def ratio(titrated: Titrated, mine: str, theirs: str) -> PairedRatio | None:
    """Return how many times faster one file is than another, round by round, with its 95 % interval."""
    rounds = titrated.answer["rounds"]
    return paired_ratio(rounds.get(mine, []), rounds.get(theirs, []))


def rival(titrated: Titrated) -> str:
    """Name the fastest uniform file that keeps the contract: the plain conversion where no method does."""
    rounds = titrated.answer["rounds"]
    kept = [ran.name for ran in titrated.runs[1:] if ran.exit == 0 and ran.name in rounds]
    return min((PLAIN, *kept), key=lambda name: median(rounds[name]))


def promises(titrated: Titrated) -> Iterator[Promise]:
    """Judge one case."""
    case, mine = titrated.case, titrated.runs[0]
    yield _against_uniform(titrated)
    if case.repairs:
        lost = titrated.answer["lost"].get(TITRANT, {}).get("judge")
        said = "nothing was released" if lost is None else f"{lost:.2f} points on judge rows"
        yield Promise(case.name, "points lost by the repair", said, lost is not None and lost <= REPAIRED_LOSES)
    count = titrated.evaluations
    yield Promise(case.name, "evaluations", f"{count} whole", count <= EVALUATIONS)
    yield from _predictions(titrated)
    yield _executed(case.name, mine)
    yield from _nncf(titrated)
    yield from _seeds(titrated)


def _against_uniform(titrated: Titrated) -> Promise:
    name, other = "speed over the best uniform file that keeps the contract", rival(titrated)
    compared = ratio(titrated, TITRANT, other)
    if compared is None:
        return Promise(titrated.case.name, name, f"titrant released nothing; {other} keeps it", False)
    said = f"{_words(compared)} {other} by {titrated.runs[0].released}, {titrated.case.gain:g} is due"
    return Promise(titrated.case.name, name, said, compared.upper >= titrated.case.gain)


def _predictions(titrated: Titrated) -> Iterator[Promise]:
    errors = [abs(predicted / measured - 1) for _, predicted, measured in titrated.predictions]
    if errors:
        parts = ", ".join(f"{name} {guess:.2f} for {seen:.2f}" for name, guess, seen in titrated.predictions)
        kept = median(errors) <= MEDIAN_ERROR and max(errors) <= WORST_ERROR
        said = f"{median(errors):.1%} in the middle, {max(errors):.1%} at worst: {parts}"
        yield Promise(titrated.case.name, "predicted speed of mixtures", said, kept)


def _executed(case: str, ran: Ran) -> Promise:
    name = "layers that ran as planned"
    if ran.layers is None:
        return Promise(case, name, "nothing was released", None)
    return Promise(case, name, f"{ran.layers[0]} of {ran.layers[1]}", ran.layers[0] == ran.layers[1])


def _nncf(titrated: Titrated) -> Iterator[Promise]:
    case, name, control = titrated.case.name, "against NNCF's accuracy control", titrated.answer["nncf"]
    if control is None:
        yield Promise(case, name, titrated.answer["failed"] or "not run", None)
        return
    compared, points = ratio(titrated, TITRANT, NNCF), titrated.case.points
    lost = titrated.answer["lost"][NNCF]
    about = f"NNCF loses {lost['tuning']:.2f} points on tuning and {lost['judge']:.2f} on judge rows"
    if compared is None:
        yield Promise(case, name, f"titrant released nothing; {about}", False)
    else:
        breaks = lost["judge"] > points
        said = f"{_words(compared)} its file; {about}" + f", and may lose {points:g}" * breaks
        yield Promise(case, name, said, breaks or compared.upper >= 1)
    whole = control["evaluations"] + control["ranking_rows"] / 5_000
    said = (
        f"{titrated.evaluations} against {control['evaluations']} whole ones and {control['ranking']} of its ranking "
        f"subset, {whole:.1f} by rows; {control['cpu']:.0f} s of CPU time"
    )
    yield Promise(case, "evaluations against NNCF's", said, titrated.evaluations <= whole * SHARE)


def _seeds(titrated: Titrated) -> Iterator[Promise]:
    judged = [each for each in titrated.seeds if each["judged"]]
    if not titrated.seeds:
        return
    name, points = "contract on judge rows at other seeds", titrated.case.points
    kept = [all(item["lost"] <= points for item in each["judged"]) for each in judged]
    lost = ", ".join(f"{max(item['lost'] for item in each['judged']):.2f}" for each in judged)
    said = f"{sum(kept)} of {len(judged)} (of {len(titrated.seeds)} runs); points lost: {lost}"
    yield Promise(titrated.case.name, name, said, bool(judged) and sum(kept) >= SEEDS_KEPT * len(judged))


def _words(compared: PairedRatio) -> str:
    return f"{compared.estimate:.2f} × ({compared.lower:.2f}–{compared.upper:.2f})"


def markdown(measured: Sequence[Titrated], cpu: str, instructions: Sequence[str]) -> str:
    """Write the table of promises, and of every file with its speed and what it lost."""
    lines = [
        f"# Titration, measured on {cpu} ({', '.join(instructions)})",
        "",
        "| case | promise | found | |",
        "|---|---|---|---|",
    ]
    for each in measured:
        lines += [f"| {one.model} | {one.name} | {one.found} | {one.word} |" for one in promises(each)]
    lines += [
        "",
        "Speed is over the plain file in onnxruntime at batch 1, by the paired rounds with their 95 % interval.",
        "",
        "| case | asked | released | batch 1 | points lost: tuning | judge | CPU s | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in measured:
        lines += [_row(each, ran.name, ran) for ran in each.runs]
        lines += [_row(each, NNCF, None)] if each.answer["nncf"] else []
    return "\n".join(lines) + "\n"


def _row(titrated: Titrated, name: str, ran: Ran | None) -> str:
    file = name if name in titrated.answer["rounds"] else PLAIN if ran is not None and ran.exit == 0 else ""
    compared = ratio(titrated, file, PLAIN) if file else None
    lost = titrated.answer["lost"].get(file, {})
    seconds = titrated.answer["nncf"]["cpu"] if ran is None else ran.cpu
    figures = [f"{lost[part]:.2f}" if part in lost else "–" for part in ("tuning", "judge")]
    speed = "–" if compared is None else _words(compared)
    released = "its file" if ran is None else ran.released or "nothing"
    because = "" if ran is None else ran.because
    return (
        f"| {titrated.case.name} | {name} | {released} | {speed} | {' | '.join(figures)} | {seconds:.0f} | {because} |"
    )


def as_json(measured: Sequence[Titrated]) -> list[dict[str, Any]]:
    """Return everything, with medians and quartiles of the rounds in place of the rounds."""
    from titrant.schema.values.canonical import plain

    values = []
    for each in measured:
        value: dict[str, Any] = plain(each)
        rounds: Mapping[str, list[float]] = each.answer["rounds"]
        value["answer"] = {**value["answer"], "rounds": {name: _spread(took) for name, took in rounds.items()}}
        value["promises"] = [plain(one) | {"word": one.word} for one in promises(each)]
        values.append(value)
    return values


def _spread(rounds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(rounds)
    return {
        "median": median(ordered),
        "lower_quartile": ordered[len(ordered) // 4],
        "upper_quartile": ordered[3 * len(ordered) // 4],
        "rounds": len(ordered),
    }
