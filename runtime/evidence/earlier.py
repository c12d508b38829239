"""Find the run that a change is described against: the one before it that was released, or one that somebody names."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from titrant.runtime.evidence.changes import Earlier
from titrant.runtime.evidence.facts import RunFacts, digest_of, gather
from titrant.runtime.rerun.check import recorded_claims
from titrant.runtime.store.home import Home, begun_before
from titrant.runtime.store.run_folder import RECORD, read_record
from titrant.schema.compare.runs import RecordedRun, compare_runs
from titrant.schema.diagnostics.diagnostics import RecipeError, StepError
from titrant.schema.language.parse import ParsedRecipe, parse

LAST = "the last release of this recipe before it"
NAMED = "named by whoever made this document"
# Beyond so many runs of a recipe an earlier release is not looked for.
_MOST_RUNS = 50


def last_release(home: Home, run: Path, name: str) -> Path | None:
    """Return the folder of the last run of a recipe before this one that released something; None without one."""
    for folder in islice(_before(home, run, name), _MOST_RUNS):
        record = read_record(folder)
        if record is not None and record.name == name and record.released:
            return folder
    return None


def _before(home: Home, run: Path, name: str) -> Iterator[Path]:
    """Yield the folders of a recipe's runs that began before this one and have ended, the newest first."""
    for folder in begun_before(home.runs, run.name, f"-{name}-"):
        if (folder / RECORD).is_file():
            yield folder


def compared_with(home: Home, run: Path, other: Path, source: str, *, placed: Path | None = None) -> Earlier:
    """Compare a run with an earlier one, both as their reports show them: nothing of small groups is in either.

    Raises StepError X581 where a file of either is missing or damaged.
    """
    old, new = gather(other), gather(run, placed)
    claims = recorded_claims(home, Path(str(new.environment.get("recipe_folder", ""))))
    differences = compare_runs(
        _recorded(old, other), _recorded(new, run), measures=lambda operator: claims(operator) == "measured"
    )
    return Earlier(old.run, digest_of(other / RECORD, RECORD).sha256, source, differences=differences)


def earlier_of(home: Home, run: Path, *, placed: Path | None = None) -> Earlier | None:
    """Compare a run with the last release before it; None where there is none.

    One whose files are no longer whole is named, with what is wrong: it fails nobody's run.
    """
    mine = read_record(run)
    other = None if mine is None else last_release(home, run, mine.name)
    record = None if other is None else read_record(other)
    if other is None or record is None:
        return None
    try:
        gather(other)
    except StepError as error:
        return Earlier(record, digest_of(other / RECORD, RECORD).sha256, LAST, error.diagnostics[0].message)
    return compared_with(home, run, other, LAST, placed=placed)


def _recorded(facts: RunFacts, folder: Path) -> RecordedRun:
    return RecordedRun(facts.plan, facts.run, facts.environment, _recipe(facts.recipe_text, folder))


def _recipe(text: str, folder: Path) -> ParsedRecipe | None:
    """Parse the recipe of a run; None where this version no longer reads it."""
    try:
        return parse(text, "recipe.yaml", folder=folder)
    except RecipeError:
        return None
