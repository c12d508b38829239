"""The report as Markdown for a pull request: the verdict, the contract, the gain and how to use it, in sixty lines."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from titrant.runtime.report.contract import GateRow
from titrant.runtime.report.record_view import NONE, listed
from titrant.schema.release import FOLDER, evidence_of, formats_of
from titrant.schema.values.text import block, inline, row

if TYPE_CHECKING:
    from titrant.runtime.report.page.gather import Page, Story

MOST_LINES = 60
# Of so many gates that did not pass the rows stay, as long as anything else can give way.
_MOST_OPEN = 12


@dataclass
class Passage:
    """Lines that stand as they are, rows of which some may be left out, and what is said of those that are."""

    head: list[str]
    rows: list[str] = field(default_factory=list)
    least: int = 3
    rest: str = "{} more"
    foot: list[str] = field(default_factory=list)
    shown: int = 0

    def lines(self) -> list[str]:
        """Return what is written, a blank line last."""
        left = len(self.rows) - self.shown
        more = ["", self.rest.format(left)] if left else []
        return [*self.head, *self.rows[: self.shown], *more, *self.foot, ""]


def markdown_text(page: "Page") -> str:
    """Return the report as text of at most sixty lines: what is too long gives its last rows up, and says so."""
    parts = [part for part in _parts(page) if part.rows or part.head or part.foot]
    for part in parts:
        part.shown = len(part.rows)
    while sum(len(part.lines()) for part in parts) > MOST_LINES:
        # One row less is no line less while nothing is left out yet, so the longest gives way.
        longest = max(parts, key=lambda part: part.shown - part.least)
        if longest.shown <= longest.least:
            parts = _without_last_rows(parts)
            break
        longest.shown -= 1
    return "\n".join(line for part in parts for line in part.lines()).rstrip("\n") + "\n"


def _without_last_rows(parts: list[Passage]) -> list[Passage]:
    """Leave out what a pull request can do without, the last first, until the rest fits; the verdict always stays."""
    kept = list(parts)
    while len(kept) > 2 and sum(len(part.lines()) for part in kept) > MOST_LINES - 2:
        del kept[-2]
    return kept


def _parts(page: "Page") -> Iterator[Passage]:
    said = page.headline
    yield Passage([f"# {said.symbol} {inline(page.title)}: {inline(said.word)}", "",
                " ".join(part for part in (f"**{inline(said.sentence)}**", inline(said.ground)) if part)])  # fmt: skip
    for each in page.harmed:
        lines = [f"- {inline(harm.sentence)}{'' if harm.shown else ', which may be chance'}" for harm in each.groups]
        whole = [f"- all cases together: {inline(each.all)}"] if each.all else []
        yield Passage([f"**{inline(each.lead)}**", ""], lines, 2, "- and {} more", whole)
    for story in page.stories:
        yield from _contract(page, story)
    if page.looks and page.stories:
        yield Passage([inline(page.looks)])
    for story in page.stories:
        yield from _gained(story)
    if page.ladder:
        yield _ladder(page)
    yield _models(page)
    if page.advice:
        yield Passage(
            ["## What would help", ""], [f"- {inline(sentence)}" for sentence in page.advice], 2, "- and {} more"
        )
    for story in page.stories:
        if story.usage:
            code = block(story.usage.with_titrant, "python").splitlines()
            yield Passage([f"## Use {inline(story.usage.file)}", "", *code])
    again = f"Again: {' or '.join(_commands(page))}."
    yield Passage([f"{again} {inline(page.validity)}{_rest(page)}"])


def _rest(page: "Page") -> str:
    """Name the other files of the run's folder that tell of it."""
    others = [f"`report.{name}`" for name in formats_of(page.record.plan) if name != "md"]
    said = f"{listed(others)} {'hold' if len(others) > 1 else 'holds'} the rest" if others else ""
    documents = f"`{FOLDER}/` {'' if others else 'holds '}documents for others" if evidence_of(page.record.plan) else ""
    words = ", ".join(filter(None, (said, documents)))
    return f" {words}." if words else ""


def _commands(page: "Page") -> list[str]:
    return [f"`{line.partition('  #')[0]}`" for line in page.rerun.splitlines()]


def _contract(page: "Page", story: "Story") -> Iterator[Passage]:
    contract = story.contract
    if contract is None:
        yield Passage([f"“{inline(story.lead.id)}” was not judged."])
        return
    name = f"{inline(story.lead.id)}: the" if len(page.stories) > 1 else "The"
    plan = page.record.plan.contract
    asks = f"confidence {plan.confidence:g}, one-sided; {plan.require} is asked for"
    columns = ("verdict", "gate", "threshold", "before → after", "estimate (bounds), and why", "cases")
    head = [f"## {name} contract: {inline(contract.counted)}", "", row(columns), "|---|---|---|---|---|---:|"]
    rows = [_gate(each) for each in contract.rows]
    open_rows = len(contract.open)
    which = "the nearest to their thresholds above" if open_rows > _MOST_OPEN else "which all pass"
    foot = ["", inline(story.batch)] if story.batch else []
    yield Passage(head, rows, max(3, min(_MOST_OPEN, open_rows)), f"and {{}} more rows, {which} ({asks}).", foot)


def _gate(each: GateRow) -> str:
    needed = (
        "" if each.needed is None or not each.short or each.verdict != "INCONCLUSIVE" else f" of {each.needed:,} needed"
    )
    about = each.title if each.whole else f"{each.title}, {each.slice}"
    about += f" (the other way round: {each.turned.verdict})" if each.turned else ""
    change = f"{each.before or '–'} → {each.after or '–'}" if each.before or each.after else "–"
    bounds = f"{each.estimate} ({each.bounds})" if each.bounds else each.reason
    if each.bounds and each.verdict != "PASS" and each.reason:
        bounds += f": {each.reason}"
    return row([f"{each.symbol} {inline(each.verdict)}", inline(about), inline(each.threshold), inline(change),
                inline(bounds), f"{each.count or '–'}{needed}"])  # fmt: skip


def _gained(story: "Story") -> Iterator[Passage]:
    word = "Released" if story.lead.released else "Judged and not released"
    head = [f"## {word}: {inline(story.lead.id)}", "", "| | before | after | |", "|---|---:|---:|---|"]
    rows = [
        row([inline(each.name), inline(each.before), inline(each.after), inline(each.words)]) for each in story.savings
    ]
    unlike = [each for each in story.precisions if each.tone == "fail"]
    layers = [f"Planned {each.planned} and runs in {each.executed}: {inline(each.names)}." for each in unlike]
    notes = [f"Latency: {inline(each.note)}." for each in story.savings if each.pace]
    foot = [" ".join([*notes, *layers])] if notes or layers else []
    reduced = [f"- {inline(each.words)}." for each in story.lead.record.reductions]
    foot += [""] * bool(foot and reduced) + reduced
    yield Passage(head, rows, 3, "and {} more.", ["", *foot] if foot else [])


def _ladder(page: "Page") -> Passage:
    head = [
        "## Ladder",
        "",
        row(("rung", "candidate", "verdict", "file", "size", "p50", "speed")),
        "|---|---|---|---|---:|---:|---|",
    ]
    rows = [
        row(
            inline(text)
            for text in (each.rung, each.candidate, each.verdict, each.file, each.size, each.p50, each.speed)
        )
        for each in page.ladder
    ]
    return Passage(head, rows, 2, "and {} more rungs.")


def _models(page: "Page") -> Passage:
    metric = page.quality.metric
    head = [f"## {inline(metric[:1].upper() + metric[1:])} on tuning rows, which choose, against latency", ""]
    head += ["| model | quality | p50 | size | became |", "|---|---:|---:|---:|---|"]
    # What was ruled out before it was timed is no point of the chart, and still a line here.
    drawn = [
        each for each in page.quality.rows if each.number or each.chosen or each.value != NONE
    ] or page.quality.rows
    ordered = sorted(drawn, key=lambda each: (not each.chosen, not each.number, each.number))
    rows = [
        row([f"**{inline(each.name)}**" if each.chosen else inline(each.name), each.value, each.seconds, each.size,
             f"{each.symbol} {inline(each.outcome)}"])
        for each in ordered
    ]  # fmt: skip
    return Passage(head, rows, 3, "and {} more.")
