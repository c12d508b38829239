"""Compose the tree of a recipe's text, every key and scalar with its place; refuse what is not one plain tree.

Plain scalars mean what they mean in YAML 1.2: true, false, null and numbers; everything else is text.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

import yaml

from titrant.schema.diagnostics.diagnostics import Diagnostic
from titrant.schema.language.spans import Origin, Span, dotted
from titrant.schema.language.yaml_source import hidden, syntax_error
from titrant.schema.values.frozen import dataclass

YamlScalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,400}|(0|[1-9][0-9]{0,399})(\.[0-9]{0,400})?)([eE][-+]?[0-9]{1,4})?")


def resolve(text: str) -> YamlScalar:
    """Return the value of an unquoted scalar.

    `no`, `on`, dates, `0x10`, `0o17`, `010` and `1_000` stay text, and so do infinity, NaN, numbers too large to hold
    and whole numbers of more than 40 digits, so that none of them turns into something else unseen.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit() and math.isfinite(number := float(text)):
        return number
    return text


MOST_LEVELS = 50
MOST_NODES = 100_000
# More mistakes than this are not shown: the first ones say what is wrong.
MOST_FINDINGS = 100
_FIRST = "mend the others first"
_REPEAT = "write the value out where it is needed, so that one line means one thing; `extends:` shares whole recipes"


@dataclass(frozen=True)
class Leaf:
    """A scalar; `text` is what it says, `plain` that it stands without quotes.

    `refused`: an error was found in it already, so nothing more is said about its value.
    """

    span: Span
    value: YamlScalar
    text: str
    plain: bool
    refused: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    span: Span
    items: "list[Node]" = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """One key of a mapping, and its value."""

    key: Span
    node: "Node"


@dataclass(frozen=True)
class Branch:
    """A mapping; its keys are always text."""

    span: Span
    entries: dict[str, Entry] = field(default_factory=dict)


Node = Leaf | Items | Branch


def plain_value(node: Node) -> Any:
    """Return a node as dicts, tuples and scalars."""
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, Items):
        return tuple(plain_value(item) for item in node.items)
    return {key: plain_value(entry.node) for key, entry in node.entries.items()}


class RefusedError(Exception):
    """The text cannot be read any further."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(diagnostic.message)


@dataclass
class _Frame:
    """A container that is still open."""

    node: Items | Branch
    path: tuple[str | int, ...]
    key: Span | None = None
    name: str = ""
    refused: bool = False  # the value that follows belongs to a key that was refused


def compose(text: str, origin: Origin) -> tuple[Node | None, list[Diagnostic]]:
    """Compose one text; the tree is None where there is nothing at all, or nothing could be read.

    The findings cover syntax, duplicate keys, anchors, aliases, merge keys, tags, directives, several documents, more
    than 50 levels and more than 100,000 values.
    """
    composer = _Composer(origin)
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        inside = composer.stack[-1].node.span if composer.stack else None
        composer.diagnostics.append(syntax_error(error, origin, inside))
        return None, composer.diagnostics
    except RefusedError as refusal:
        composer.diagnostics.append(refusal.diagnostic)
        return None, composer.diagnostics
    return composer.root, composer.diagnostics


def _events(text: str) -> Iterator[Any]:
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Composer:
    """Turns a stream of YAML events into nodes, without recursion."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.documents = 0
        self.anchors: set[str] = set()

    def take(self, event: Any) -> None:
        """Work off one event."""
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._leaf(event))
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self._check_plain(event)
            self._open(event)
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            span = self._span(event)
            name = str(event.anchor)
            if name not in self.anchors:
                self._refuse("R008", f"the alias `*{_short_text(name)}` stands for text elsewhere", span, _REPEAT)
            self._add(Leaf(span, None, f"*{name}", True, refused=True))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(event)

    def _leaf(self, event: Any) -> Leaf:
        refused = self._check_plain(event)
        plain, text, span = event.style is None or event.style == "", event.value, self._span(event)
        if not plain and (sign := hidden(text)):
            refused = True
            self._refuse("R004", f"this text holds {sign}", span, "take it out")
        return Leaf(span, resolve(text) if plain else text, text, plain, refused)

    def _check_plain(self, event: Any) -> bool:
        """Refuse an anchor or a tag on a node; True when there is one."""
        if event.anchor is not None:
            span = self._short(event, len(event.anchor) + 1)
            self.anchors.add(event.anchor)
            name = _short_text(event.anchor)
            advice = f"write the value out wherever `*{name}` stands, so that one line means one thing"
            self._refuse("R008", f"the anchor `&{name}` gives a name to a piece of text", span, advice)
        elif event.tag is not None:
            line = self.origin.lines[event.start_mark.line][event.start_mark.column :]
            tag = line.split(None, 1)[0].split(",")[0] if line else "!"
            advice = "take the tag out; quotes make text, and units are part of the value"
            self._refuse(
                "R008", f"the tag `{_short_text(tag)}` changes what a value means", self._short(event, len(tag)), advice
            )
        return event.anchor is not None or event.tag is not None

    def _document(self, event: Any) -> None:
        self.documents += 1
        if event.version or event.tags:
            message = "a directive (`%…`) changes how the text is read"
            raise RefusedError(self._finding("R008", message, self._short(event, 1), "take the line out"))
        if self.documents > 1:
            advice = "keep one recipe in a file: what follows `---` belongs in a file of its own"
            raise RefusedError(self._finding("R009", "a second document begins here", self._short(event, 3), advice))

    def _open(self, event: Any) -> None:
        if len(self.stack) >= MOST_LEVELS:
            message = f"more than {MOST_LEVELS} levels lie inside each other"
            raise RefusedError(self._finding("R003", message, self._short(event, 1), "no recipe needs that many"))
        span = self._short(event, 1)
        node: Items | Branch = Items(span) if isinstance(event, yaml.SequenceStartEvent) else Branch(span)
        self.stack.append(_Frame(node, self._path()))

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        node = frame.node
        start = node.span
        flow = (
            self.origin.lines[start.line][start.column : start.column + 1] in ("[", "{") if self.origin.lines else False
        )
        if flow:
            end = event.end_mark
            span = Span(self.origin, start.line, start.column, end.line, end.column)
        elif isinstance(node, Branch) and node.entries:
            span = next(iter(node.entries.values())).key
        else:
            span = start
        whole = Items(span, node.items) if isinstance(node, Items) else Branch(span, node.entries)
        self._add(whole)

    def _add(self, node: Node) -> None:
        """Put a finished node where it belongs: a key, a value, an item, or the root."""
        self.nodes += 1
        if self.nodes > MOST_NODES:
            message = f"more than {MOST_NODES:,} values stand in one recipe"
            raise RefusedError(
                self._finding("R003", message, node.span, "no recipe needs that many; data belongs in files")
            )
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node, Items):
            frame.node.items.append(node)
        elif frame.key is None:
            self._key(frame, node)
        else:
            if not frame.refused:
                frame.node.entries[frame.name] = Entry(frame.key, node)
            frame.key, frame.refused = None, False

    def _key(self, frame: _Frame, node: Node) -> None:
        assert isinstance(frame.node, Branch)
        if not isinstance(node, Leaf):
            advice = "a key is plain text; quote it if it holds brackets"
            self._refuse("R011", "a list or mapping cannot be a key", node.span, advice)
            frame.key, frame.name, frame.refused = node.span, "", True
            return
        frame.key, frame.name = node.span, node.text
        earlier = frame.node.entries.get(node.text)
        if node.refused:
            frame.refused = True
        elif node.text == "<<" and node.plain:
            frame.refused = True
            self._refuse("R008", "the merge key `<<` brings keys in from elsewhere", node.span, _REPEAT)
        elif earlier is not None:
            frame.refused = True
            first = earlier.key.line + 1
            path = dotted((*frame.path, node.text))
            advice = f"keep one of the two; the first is in line {first}"
            self._refuse("R007", f"`{_short_text(node.text)}` stands twice here", node.span, advice, path)

    def _path(self) -> tuple[str | int, ...]:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        if isinstance(frame.node, Branch):
            return frame.path if frame.key is None else (*frame.path, frame.name)
        return (*frame.path, len(frame.node.items))

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self.origin, start.line, start.column, end.line, end.column)

    def _short(self, event: Any, width: int) -> Span:
        mark = event.start_mark
        return Span(self.origin, mark.line, mark.column, mark.line, mark.column + width)

    def _finding(self, code: str, message: str, span: Span, advice: str, path: str = "") -> Diagnostic:
        return Diagnostic(code, message, span.place(path or dotted(self._path())), advice)

    def _refuse(self, code: str, message: str, span: Span, advice: str, path: str = "") -> None:
        self.diagnostics.append(self._finding(code, message, span, advice, path))
        if len(self.diagnostics) >= MOST_FINDINGS:
            raise RefusedError(Diagnostic("R028", "more mistakes follow and are not shown", span.place(), _FIRST))


def capped(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Return the first mistakes and, of more than anybody reads, that there are more, where the next one is."""
    if len(diagnostics) <= MOST_FINDINGS:
        return diagnostics
    more = Diagnostic("R028", "more mistakes follow and are not shown", diagnostics[MOST_FINDINGS].where, _FIRST)
    return [*diagnostics[:MOST_FINDINGS], more]


def _short_text(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"


_TOGETHER = re.compile(r"[0-9],[0-9]")


def refuse_decimal_commas(root: Branch, text: str, diagnostics: list[Diagnostic]) -> Branch:
    """Return the tree with each `{p95: 5,5 ms}` as the one entry that was meant, refused with one finding.

    YAML reads it as `p95: 5` and a key `5 ms` without a value, which would be two mistakes where a person made one.
    """
    if not _TOGETHER.search(text):
        return root
    joined = _joined(root, (), diagnostics)
    assert isinstance(joined, Branch)
    return joined


def _joined(node: Node, path: tuple[str | int, ...], diagnostics: list[Diagnostic]) -> Node:
    if isinstance(node, Items):
        return Items(node.span, [_joined(item, (*path, place), diagnostics) for place, item in enumerate(node.items)])
    if isinstance(node, Leaf):
        return node
    entries: dict[str, Entry] = {}
    last = ""
    for key, entry in node.entries.items():
        before = entries.get(last)
        if before is not None and _goes_on(before.node, key, entry):
            entries[last] = Entry(before.key, _refused(before.node, key, entry, (*path, last), diagnostics))
        else:
            entries[key] = Entry(entry.key, _joined(entry.node, (*path, key), diagnostics))
            last = key
    return Branch(node.span, entries)


def _goes_on(before: Node, key: str, entry: Entry) -> bool:
    """Whether a key without a value is what follows the comma of a number."""
    if not (isinstance(before, Leaf) and before.plain and before.text.isdecimal() and key[:1].isdecimal()):
        return False
    alone = isinstance(entry.node, Leaf) and entry.node.plain and entry.node.text == ""
    return alone and (before.span.end_line, before.span.end_column + 1) == (entry.key.line, entry.key.column)


def _refused(before: Node, key: str, entry: Entry, path: tuple[str | int, ...], diagnostics: list[Diagnostic]) -> Leaf:
    assert isinstance(before, Leaf)
    start, end = before.span, entry.key
    whole = Span(start.origin, start.line, start.column, end.end_line, end.end_column)
    message = f"a comma between braces ends the entry: this reads as `{before.text}` and a key `{key}`"
    advice = f"the decimal sign is a point: write `{before.text}.{key}`"
    diagnostics.append(Diagnostic("R005", message, whole.place(dotted(path)), advice))
    return replace(before, span=whole, text=f"{before.text},{key}", refused=True)
