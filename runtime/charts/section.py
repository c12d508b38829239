"""A section of a page as values: a title, a sentence, tables and pictures, which a template only lays out."""

from collections.abc import Sequence

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class SectionTable:
    """Rows of cells as text under a head; `numbers` are the places of columns that are set to the right.

    Of more rows than `shown` the others stand behind a fold. `caption` is "" for none.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    shown: int = 20

    @property
    def first(self) -> Sequence[tuple[str, ...]]:
        """The rows that are always shown."""
        return self.rows[: self.shown]

    @property
    def further(self) -> Sequence[tuple[str, ...]]:
        """The rows behind the fold."""
        return self.rows[self.shown :]


@dataclass(frozen=True)
class Section:
    """A part of a page: what it is called in links, and what it shows; nothing in it is escaped but the SVG.

    `pictures` are SVG elements as `titrant.runtime.charts.svg.picture` draws them, `notes` remarks below the tables.
    """

    id: str
    title: str
    sentence: str = ""
    tables: tuple[SectionTable, ...] = ()
    pictures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
