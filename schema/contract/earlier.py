"""Earlier releases that a contract compares with: which run released what, and where it was judged."""

from collections.abc import Mapping

from titrant.schema.values.frozen import dataclass

# Presets of rows beside an earlier release rather than the original: the last one, and the first one of its line.
REGRESSION, ANCHOR = "regression", "anchor"
# How a recipe names them where it gives no run.
PREVIOUS, FIRST = "previous", "first"
# What rows of either say whose figures they are beside.
WHOSE: Mapping[str, str] = {REGRESSION: "the earlier release’s", ANCHOR: "the anchor’s"}


@dataclass(frozen=True)
class EarlierRelease:
    """The file at `path` that a run released: its engine, and the bytes that were judged then.

    `machine`, `processor` and `instructions` are those that it was judged on. `releases` counts those between it and
    the original, both counted: 0 where nobody walked a line, 1 where the original is that file itself.
    """

    run: str
    path: str
    engine: str
    bytes: int
    machine: str
    processor: str
    instructions: tuple[str, ...]
    releases: int = 0


def elsewhere(release: EarlierRelease, machine: str, instructions: tuple[str, ...]) -> str:
    """Say by which other instructions a release was judged than there are here; "" for the same.

    The instruction set counts whole: int8 rounds and saturates otherwise with VNNI than without.
    """
    if (release.machine, release.instructions) == (machine, instructions):
        return ""
    other = sorted({*release.instructions} ^ {*instructions})
    differ = f": they differ in {', '.join(other)}" if other else ""
    return f"{release.run} was judged on {release.machine} with other instructions than this machine has{differ}"


def other_processor(release: EarlierRelease, processor: str) -> str:
    """Say on which other processor a release was judged, with which its times do not compare; "" for the same."""
    if release.processor == processor:
        return ""
    return f"{release.run} was judged on {release.processor or 'an unknown processor'}, and this is {processor}"
