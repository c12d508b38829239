"""Write the rows that compare with earlier releases: the stored one, timed again, and the first of the line."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.schema.contract.earlier import ANCHOR, REGRESSION, EarlierRelease, elsewhere, other_processor
from titrant.schema.facts import HardwareIdentity
from titrant.schema.gate import RATIO_TESTS, Comparison, Gate, gate_test

# What is compared with the original and with every earlier release: the main metric, and how.
MainRow = tuple[str, Comparison]
# Ratios that hold where both files were timed alone, and so on one processor.
_OF_TIME = ("latency_p50", "latency_p95", "peak_memory")


def earlier_rows(
    bound: BoundRecipe, releases: Mapping[str, EarlierRelease], here: HardwareIdentity, kept: MainRow, retention: float
) -> Iterator[Gate]:
    """Yield the rows beside earlier releases; `retention` is what the anchor is asked for.

    What was judged by other instructions, or timed on another processor, is not assessable here; bytes are the same
    everywhere.
    """
    validation = bound.recipe.validation
    if validation.regression is not None:
        release = releases[REGRESSION]
        moved = elsewhere(release, here.machine, here.instructions)
        timed_elsewhere = moved or other_processor(release, here.cpu)
        for name in (*_OF_TIME, "size"):
            limit = getattr(validation.regression, name)
            if limit is not None:
                test, where = RATIO_TESTS[name], bound.where("validation", "regression", name)
                row = Gate(f"{REGRESSION}.{name}", REGRESSION, name, "all", "ratio_at_most", limit, test, where)
                yield _open(row, timed_elsewhere if name in _OF_TIME else "")
        if validation.regression.metric is not None:
            where = bound.where("validation", "regression", "metric")
            row = _kept(f"{REGRESSION}.metric", REGRESSION, kept, validation.regression.metric, where)
            yield _open(row, moved)
    if validation.anchor is not None:
        yield _kept(ANCHOR, ANCHOR, kept, retention, bound.where("validation", "anchor"))


def _kept(identifier: str, preset: str, kept: MainRow, threshold: float, where: str) -> Gate:
    metric, comparison = kept
    return Gate(identifier, preset, metric, "all", comparison, threshold, gate_test(metric, comparison), where)


def _open(row: Gate, because: str) -> Gate:
    return replace(row, test="not_assessable", assumption=because) if because else row


def because(name: str, release: EarlierRelease) -> str:
    """Say of an earlier release what is done with it, and how far it is from the original."""
    if name == REGRESSION:
        return f"its file is timed beside the new one in {release.engine}, in the same turns, and answers the same rows"
    if release.releases == 1:
        return "the original is that release itself: the row says what retention says"
    line = f"the first of {release.releases} releases in a line to the original: " if release.releases else ""
    return f"{line}it answers the same rows, so that what is lost a little each time is seen"
