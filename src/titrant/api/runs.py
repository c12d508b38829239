"""Runs of a home: find one or search them, read the files in its folder, get its report."""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.schema.contract.earlier import ANCHOR, FIRST, PREVIOUS, REGRESSION, EarlierRelease
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import SIZES, parse_size, parse_time

if TYPE_CHECKING:
    from titrant.compiler.bind.bound_recipe import BoundRecipe
    from titrant.runtime.store.home import Home
    from titrant.schema.facts import DataFacts, ModelFacts
    from titrant.schema.language.spans import KeyPath

VERDICTS = ("PASS", "NOT PROVEN", "WAIVED", "FAIL", "INCONCLUSIVE", "UNFINISHED", "DAMAGED")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_FILTER = re.compile(r"\s*([a-z_][\w.]*)\s*(<=|>=|<|>|=)\s*(\S.*?)\s*")


@dataclass(frozen=True)
class RunRow:
    """One run: figures are of the first model that it released, or judged last; seconds, bytes, fractions.

    The verdict is UNFINISHED for a run that did not come to its end, and DAMAGED where its record cannot be read.
    """

    run: str
    when: str  # UTC, ISO 8601, when it began
    recipe: str
    verdict: str
    exit: int | None
    released: tuple[str, ...]
    seconds: float | None
    figures: Mapping[str, float]


@dataclass(frozen=True)
class MetricFilter:
    """One comparison of a figure with a number."""

    figure: str
    comparison: str
    value: float

    def fits(self, row: RunRow) -> bool:
        """Whether a run has the figure, and it compares as wanted."""
        figure = row.figures.get(self.figure)
        return figure is not None and _COMPARISONS[self.comparison](figure, self.value)


def find_run(name: str, home: Path, *, ended: bool = False) -> Path:
    """Return a run's folder; RecipeError when there is none or more than one of that name.

    The latest is the one that began last or, where nothing had to run since, answered last; with `ended` of those that
    came to their end.
    """
    from titrant.runtime.store.home import latest_first

    direct = Path(name)
    if (direct / "plan.json").is_file():
        return direct
    folders = [folder for folder in latest_first(home / "runs") if (folder / "plan.json").is_file()]
    if name == "latest":
        matching = [folder for folder in folders if not ended or (folder / "record.json").is_file()][:1] or folders[:1]
    else:
        matching = [folder for folder in folders if folder.name == name] or [
            folder for folder in folders if folder.name.startswith(name) or folder.name.endswith(name)
        ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise RecipeError(
            Diagnostic(
                "P007",
                f"'{name}' fits {len(matching)} runs",
                help="one of: " + ", ".join(folder.name for folder in matching[:8]),
            )
        )
    if direct.is_file():
        advice = f"where it is a packed run, unpack it first: titrant report {name} --unpack FOLDER"
        raise RecipeError(Diagnostic("P007", f"{name} is a file, and a run is a folder", help=advice))
    last_runs = ", ".join(folder.name for folder in folders[:3])
    raise RecipeError(
        Diagnostic("P007", f"there is no run '{name}' in {home / 'runs'}",
                   help=f"the last runs are: {last_runs}" if last_runs else "make one with: titrant run RECIPE")
    )  # fmt: skip


def read_text(file: Path) -> str:
    """Read a file of a run's folder; RecipeError when it is missing or damaged."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, str(error)) from None


def read_events(file: Path) -> list[dict[str, Any]]:
    """Read a journal's events; a line that was cut short is left out. RecipeError when the file cannot be read."""
    from titrant.runtime.store.journal import read

    try:
        return read(file)
    except OSError as error:
        raise damaged(file, str(error)) from None


def read_json(file: Path) -> Any:
    """Read a JSON file of a run's folder; RecipeError when it is missing or damaged."""
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from None


def damaged(file: Path, why: str) -> RecipeError:
    """Make the error about a file of a run's folder (P015)."""
    advice = "run the recipe again: what is stored is verified and reused"
    message = f"{file.name} of the run {file.parent.name} is missing or damaged: {why}"
    return RecipeError(Diagnostic("P015", message, help=advice))


def search_runs(
    home: Path | str, *, recipe: str | None = None, verdicts: Sequence[str] = (), metrics: Sequence[str] = ()
) -> list[RunRow]:
    """List the runs of a home, the latest first, that are of a recipe, have one of some verdicts and fit every metric.

    A metric is written `accuracy>=0.95` or `size<=200 KiB`; RecipeError P072 for one that cannot be read, and for a
    verdict that there is not.
    """
    comparisons = [parse_metric(text) for text in metrics]
    allowed = [_verdict(text) for text in verdicts]
    return [
        row
        for row in _rows(Path(home))
        if (recipe is None or row.recipe == recipe)
        and (not allowed or row.verdict in allowed)
        and all(comparison.fits(row) for comparison in comparisons)
    ]


def parse_metric(text: str) -> MetricFilter:
    """Read `NAME<=VALUE`, with a unit for sizes and times; RecipeError for anything else."""
    match = _FILTER.fullmatch(text)
    if match is None:
        raise _unreadable(f"`{text}` is not a comparison of a figure with a number")
    name, comparison, value = match.groups()
    return MetricFilter({"latency": "latency_p50"}.get(name, name), comparison, _number(value))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    unit = text.lstrip("0123456789. ")
    try:
        return float(parse_size(text) if unit in SIZES else parse_time(text))
    except ValueError as error:
        raise _unreadable(str(error)) from None


def _verdict(text: str) -> str:
    verdict = text.upper().replace("-", " ").replace("_", " ")
    if verdict not in VERDICTS:
        raise _unreadable(f"there is no verdict `{text}`: there are {', '.join(VERDICTS)}")
    return verdict


def _unreadable(message: str) -> RecipeError:
    return RecipeError(
        Diagnostic("P072", message, help="for example: titrant show runs --metric 'accuracy>=0.95' --verdict PASS")
    )


def _rows(home: Path) -> Iterator[RunRow]:
    from titrant.runtime.store.home import latest_first

    for folder in latest_first(home / "runs"):
        if (folder / "record.json").is_file():
            row = run_row(folder)
            # Somebody may be removing the run just now: then nothing is damaged.
            if row.verdict != "DAMAGED" or (folder / "record.json").is_file():
                yield row
        elif (folder / "plan.json").is_file():
            yield _without_record(folder, "UNFINISHED")


def run_row(folder: Path) -> RunRow:
    """Return the row of a run's folder, DAMAGED where its record cannot be read."""
    try:
        record = json.loads((folder / "record.json").read_bytes())
        return RunRow(
            run=folder.name,
            when=_when(folder),
            recipe=record["name"],
            verdict=record["verdict"],
            exit=record["exit"],
            released=tuple(record["released"]),
            seconds=record["seconds"],
            figures=_figures(folder, record),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _without_record(folder, "DAMAGED")


def _without_record(folder: Path, verdict: str) -> RunRow:
    # A run's folder is named <time>-<recipe>-<plan>, with a count behind it where two began in one second.
    match = re.fullmatch(r"[^-]*-(.*)-[0-9a-f]{8}(-\d+)?", folder.name)
    return RunRow(folder.name, _when(folder), match[1] if match else "?", verdict, None, (), None, {})


def _when(folder: Path) -> str:
    """Return when a run began, from its folder's name."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", folder.name)
    return "{}-{}-{}T{}:{}:{}Z".format(*match.groups()) if match else ""


def _figures(folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
    candidates = record["candidates"]
    shown = [candidate for candidate in candidates if candidate["candidate"] in record["released"][:1]]
    shown = shown or [candidate for candidate in candidates if candidate["judgement"] is not None][-1:]
    if not shown:
        return {}
    (candidate,) = shown
    figures = dict(candidate["figures"])
    if candidate["size"] is not None:
        figures["size"] = float(candidate["size"])
    if candidate["judgement"] is not None:
        metrics = _metrics(folder)
        for result in candidate["judgement"]["results"]:
            name = metrics.get(result["gate"])
            if name is not None and result["candidate"] is not None:
                figures.setdefault(name, float(result["candidate"]))
    return figures


def _metrics(folder: Path) -> dict[str, str]:
    """Return the metric of every gate that is asked of all evaluation rows."""
    gates = json.loads((folder / "plan.json").read_bytes())["contract"]["gates"]
    return {gate["id"]: gate["metric"] for gate in gates if gate["slice"] == "all"}


def refuse_changed(folder: Path) -> None:
    """Raise StepError X589 where a file that a run put out, or its record, is no longer what the run wrote."""
    from titrant.runtime.store.placed import forged

    if (wrong := forged(folder)) is not None:
        message = f"{wrong.path.name} of the run {folder.name} is not what the run put out: {wrong.why}"
        raise StepError(Diagnostic("X589", message, help="run the recipe again: what is stored is verified and reused"))


_AGAINST, _ANCHOR = ("validation", "regression", "against"), ("validation", "anchor")


def earlier_releases(
    bound: "BoundRecipe", home: "Home", facts: tuple["ModelFacts", "DataFacts"], recorded: Mapping[str, str]
) -> dict[str, EarlierRelease]:
    """Return the releases that rows compare with, by the preset of the rows; `recorded` names the runs of a rerun.

    Raises RecipeError, at the key that asks, P150 where there is no such release, P151 where its files are not what the
    run released, P153 where no run released the original.
    """
    validation = bound.recipe.validation
    releases: dict[str, EarlierRelease] = {}
    if validation.regression is not None:
        with _asked_at(bound, _AGAINST):
            releases[REGRESSION] = _regression(bound, home, facts, recorded.get(REGRESSION))
    if validation.anchor is not None:
        with _asked_at(bound, _ANCHOR):
            releases[ANCHOR] = _anchor(home, facts[0], recorded.get(ANCHOR, validation.anchor))
    return releases


def _regression(
    bound: "BoundRecipe", home: "Home", facts: tuple["ModelFacts", "DataFacts"], recorded: str | None
) -> EarlierRelease:
    from titrant.compiler.bind.check_files import own_paths
    from titrant.runtime.store.releases import previous_release, release_of
    from titrant.schema.recipe.recipe import recipe_value
    from titrant.schema.values.canonical import sha256

    recipe = bound.recipe
    name = recorded or (PREVIOUS if recipe.validation.regression is None else recipe.validation.regression.against)
    if name != PREVIOUS:
        return release_of(find_run(name, home.path, ended=True))
    made_of = (sha256(own_paths(recipe_value(recipe), bound.parsed)), facts[0].digest, facts[1].digest)
    return release_of(previous_release(home, recipe.name, made_of))


def _anchor(home: "Home", model: "ModelFacts", name: str) -> EarlierRelease:
    from titrant.runtime.store.releases import first_release, release_of

    if name != FIRST:
        return release_of(find_run(name, home.path, ended=True))
    folder, file, length = first_release(home, model.digest)
    return replace(release_of(folder, file), releases=length)


@contextmanager
def _asked_at(bound: "BoundRecipe", path: "KeyPath") -> Iterator[None]:
    """Say of an error which key of the recipe asks for the run; that there is none is P150 wherever it was found."""
    try:
        yield
    except RecipeError as error:
        written = bound.written(*path)
        where = bound.parsed.source.place(path if written else path[:2], "value" if written else "key")
        raise RecipeError(
            *(replace(each, where=where, code=_CODES.get(each.code, each.code)) for each in error.diagnostics)
        ) from None


_CODES: Mapping[str, str] = {"P007": "P150"}
