"""Verify and clean the store of a home."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.values.units import QuantityError, parse_size, parse_time

if TYPE_CHECKING:
    from titrant.runtime.store.clean import Freed
    from titrant.runtime.store.store_index import Tell
    from titrant.runtime.store.verify import Verified

_DAYS = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) ?(?:d|days?)")
_DAY = 86_400.0


def verify_store(*, repair: bool = False, tell: "Tell" = lambda *_: None) -> "Verified":
    """Read every stored file and follow every result; with `repair`, forget what is damaged.

    What is forgotten is made again by the next run that needs it. `tell` is told what is being done, how much of it
    and out of how much.
    """
    from titrant.runtime.store.home import home_to_read, open_home
    from titrant.runtime.store.verify import verify_store as verify

    return verify(open_home() if repair else home_to_read(), repair=repair, tell=tell)


def clean_store(
    *,
    older_than: str = "30 days",
    keep: str | None = None,
    forget_runs: str | None = None,
    locks: Sequence[Path | str] = (),
    dry_run: bool = False,
    tell: "Tell" = lambda *_: None,
) -> "Freed":
    """Let go of results that were not used for `older_than`, and beyond `keep` ("10 GiB") of the least recently used.

    Checkpoints of trainings that were killed as long ago go too. Kept is what runs that ended and lock files refer to,
    and everything younger than an hour or used by a run in progress. `forget_runs` ("90 days") lets runs that ended
    longer ago keep nothing; their folders stay. The lock beside the recipe of a run is found; others are named in
    `locks`. Raises RecipeError for an age or size that cannot be read, and for a lock file that is not there.
    """
    from titrant.runtime.store.clean import Cleaning
    from titrant.runtime.store.clean import clean_store as clean
    from titrant.runtime.store.home import open_home

    named = tuple(map(Path, locks))
    for lock in named:
        if not lock.is_file():
            raise _invalid("P071", f"there is no lock file {lock}", "name one that `titrant lock` wrote")
    what = Cleaning(
        older_than=_age(older_than),
        keep_bytes=None if keep is None else _size(keep),
        forget_runs=None if forget_runs is None else _age(forget_runs),
        locks=named,
    )
    return clean(open_home(), what, dry_run=dry_run, tell=tell)


def _age(text: str) -> float:
    """Return the seconds of an age: days, or any time that a recipe knows."""
    match = _DAYS.fullmatch(text.strip())
    if match:
        return float(match[1]) * _DAY
    try:
        return parse_time(text)
    except QuantityError as error:
        raise _invalid("P070", error.message, "an age is written like `30 days` or `12 h`") from None


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise _invalid("P070", str(error), "a size is written like `10 GiB`") from None


def _invalid(code: str, message: str, help_text: str) -> RecipeError:
    return RecipeError(Diagnostic(code, message, help=help_text))
