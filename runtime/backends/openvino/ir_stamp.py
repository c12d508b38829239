"""Carry facts about a release in the graph of an OpenVINO IR, beside what else the file says of itself.

They come back as `model.get_rt_info("titrant.release")`. A graph's own facts stand in the last element of `model.xml`;
one element more changes no layer, and the weights lie in another file.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from titrant.runtime.backends.stamp import KEY, Piece

_END = re.compile(rb"</rt_info>\s*</net>\s*$")
# Values have no quotes and no brackets of their own: they are written as entities.
_ELEMENT = re.compile(rb"<" + re.escape(KEY).encode() + rb' value="([^"]*)" ?/>')
_AS_ENTITIES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


def pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return the graph without such facts, and new ones as the last of it; ValueError for what is no such graph."""
    written = file.read_bytes()
    end = _END.search(written)
    if end is None:
        raise ValueError(f"{file.name} has no facts of the graph")
    cuts = [found.span() for found in _ELEMENT.finditer(written)]
    starts, ends = [0, *(after for _, after in cuts)], [*(before for before, _ in cuts), end.start()]
    element = f'<{KEY} value="{escape(text, _AS_ENTITIES)}" />'.encode()
    return *map(range, starts, ends), element, range(end.start(), len(written))


def read(file: Path) -> str:
    """Return the text of the element; "" where there is none. ValueError for what is no text."""
    element = _ELEMENT.search(file.read_bytes())
    entities = {entity: character for character, entity in _AS_ENTITIES.items()}
    return "" if element is None else unescape(element[1].decode(), entities)
