"""A section of an instrument's page: a heading, a sentence, a table, pictures, and sections folded below it."""

from titrant.runtime.charts.alone import ChartPicture
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class TableColumn:
    """A heading; numbers stand at the right, and `tip` is what a pointer over the heading says."""

    name: str
    numeric: bool = False
    tip: str = ""


@dataclass(frozen=True)
class TableCell:
    """What stands in a cell; `number` is what it is sorted by (None: its words), `tone` pass, warn, fail or "".

    A tone is a color, which never says anything alone: the words say it too. `share`, 0..1, draws a bar below them.
    """

    words: str
    number: float | None = None
    tone: str = ""
    tip: str = ""
    share: float | None = None


@dataclass(frozen=True)
class PageTable:
    """A table that a script sorts and filters where it may run; every row has as many cells as there are columns.

    A cell that is a plain text is sorted by it. `left_out` says what is not in it, as "… 40 more, in the JSON".
    """

    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[TableCell | str, ...], ...]
    left_out: str = ""


@dataclass(frozen=True)
class PageSection:
    """One section: `id` is its anchor, unique on the page; `sentence` says in one what is to be seen.

    `inner` are sections of their own, each folded and opened by a click, without a script. `notes` stand at the end.
    """

    id: str
    title: str
    sentence: str = ""
    table: PageTable | None = None
    pictures: tuple[ChartPicture, ...] = ()
    inner: "tuple[PageSection, ...]" = ()
    notes: tuple[str, ...] = ()


def number_cell(
    value: float | None, words: str | None = None, *, tone: str = "", share: float | None = None
) -> TableCell:
    """Return a cell of a number, which `words` write out; "–" for None, which is sorted last."""
    if value is None:
        return TableCell("–")
    return TableCell(f"{value:,}" if words is None else words, value, tone, share=share)
