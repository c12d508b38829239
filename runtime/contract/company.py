"""Say whether a candidate's answers depend on who shares its batch, and what that means to whoever serves it."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.values.canonical import read_back
from titrant.schema.values.frozen import dataclass

# Which rows were tried, and which of them differ: no report needs to know.
PLACES = ("tried", "dependent")
# What rounding may move an answer by, as a share of the largest: see validate.repeats.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Differing:
    """Rows that are answered otherwise than in the judged batch, and the largest difference as a share of an answer."""

    differ: int
    apart: float | None = None


@dataclass(frozen=True)
class Invariance:
    """What asking `rows` again gave; `batch` is the batch size that is judged (see validate.batch_invariance).

    `alone` is None where the model answers no single row, `outlier` where it takes no floating-point numbers.
    """

    rows: int
    batch: int
    scales: bool
    identical: bool
    company: Differing
    alone: Differing | None = None
    outlier: Differing | None = None

    @property
    def moved(self) -> float | None:
        """The most that who shares the batch moves an answer, as a share of the largest; None: to what is no number."""
        ways = [way.apart for way in (self.alone, self.company, self.outlier) if way is not None]
        numbers = [apart for apart in ways if apart is not None]
        return max(numbers) if len(numbers) == len(ways) else None

    @property
    def depends(self) -> bool:
        """Whether who shares the batch moves an answer by more than rounding."""
        return self.moved is None or self.moved > _ROUNDING


def read_invariance(value: Mapping[str, Any]) -> Invariance:
    """Read what validate.batch_invariance gave; the places of the rows are left out."""
    kept: Invariance = read_back(Invariance, {key: value[key] for key in value if key not in PLACES})
    return kept


def seen_words(invariance: Invariance) -> str:
    """Count the rows that are decided otherwise, as "3 of 256 alone, 5 in other company, 12 beside an outlier"."""
    ways = {"alone": invariance.alone, "in other company": invariance.company, "beside an outlier": invariance.outlier}
    counts = [f"{way.differ:,} {name}" for name, way in ways.items() if way is not None]
    first, *others = counts
    number, _, rest = first.partition(" ")
    return ", ".join([f"{number} of {invariance.rows:,} {rest}", *others])


def batch_sentence(candidate: str, invariance: Invariance) -> str:
    """Say in which batches a candidate was judged, and whether its answers hold in others."""
    judged = f"“{candidate}” was judged in batches of {invariance.batch}."
    if not invariance.depends:
        how = "bit by bit" if invariance.identical else "but for rounding"
        return (
            f"{judged} Its answers do not depend on who shares the batch: the same {how} on {invariance.rows:,} rows."
        )
    return (
        f"{judged} {depends_sentence('Its answers', invariance)}. "
        f"What is proven holds for batches of {invariance.batch} like those that were judged."
    )


def depends_sentence(whose: str, invariance: Invariance) -> str:
    """Say by how much answers depend on the batch, in decisions and in the numbers themselves."""
    why = " (a layer finds its scale from the batch)" if invariance.scales else ""
    by = "to what is no number" if invariance.moved is None else f"by up to {100 * invariance.moved:.2g} %"
    return (
        f"{whose} depend on who shares the batch{why}: they move {by} of the largest, and are other ones for "
        f"{seen_words(invariance)}"
    )


def serving_advice(leads: Mapping[str, Invariance]) -> list[str]:
    """Say what to do about each candidate whose answers depend on the batch."""
    return [
        f"“{name}” answers a case by who shares its batch: serve it in batches of {seen.batch}, as it was judged, ask "
        "for `validation.batch_invariance`, or choose a method with fixed scales."
        for name, seen in leads.items()
        if seen.depends
    ]
