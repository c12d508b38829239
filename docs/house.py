"""Draw the rooms from the code itself: a box a folder, each above everything that it imports."""

import ast
import re
from collections import defaultdict
from functools import cache
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parent.parent
# Top-level folder, from the roof to the ground, and what its band says of it.
BANDS = (
    ("src/titrant", "what people call: the command line and the public functions"),
    ("compiler", "a recipe, a machine and facts in, a verified plan out; of the runtime it knows the catalog only"),
    ("runtime", "what a plan is made of and what carries it out; knows nothing of the compiler"),
    ("schema", "the recipe language and the values that every stage hands on; knows nothing of the others"),
    ("recipes", "shipped recipes, and the small models that they train"),
)
WIDTH, MARGIN, GAP, LINE, MOST_IN_A_ROW = 1180, 24, 12, 15, 4
# A statement, at any depth of a file.
IMPORT = re.compile(r"^ *(from titrant\.[\w.]+ import (?:\([^)]*\)|.*))", re.M)
LETTER = 6.2  # pixels, of small text
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .name { font-weight: 600 } .small { font-size: 11.5px }
.files { font-size: 11.5px; fill: #57606a } .band { fill: #f6f8fa; stroke: #d0d7de }
.room { fill: #ffffff; stroke: #8c959f } .arrow { stroke: #57606a; fill: none } .head { fill: #57606a }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .files { fill: #9198a1 }
.band { fill: #161b22; stroke: #30363d } .room { fill: #0d1117; stroke: #6e7681 }
.arrow { stroke: #8b949e } .head { fill: #8b949e } }
"""


@cache
def rooms() -> dict[str, str]:
    """Map every folder that gets a box to what its `__init__` says: a band's own files, and its folders."""
    captions = {}
    for band, _ in BANDS:
        for file in sorted((ROOT / band).rglob("__init__.py")):
            folder = str(file.parent.relative_to(ROOT))
            if not any(parent.is_symlink() for parent in file.parents) and _room(folder) == folder and _files(folder):
                says = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
                captions[folder] = "" if folder == band else says.split("\n")[0]
    return captions


def _room(folder: str) -> str:
    """Return the box that a folder is drawn in: what lies deeper than a band's folders is drawn inside those."""
    band = next((band for band, _ in BANDS if folder == band or folder.startswith(f"{band}/")), "")
    below = folder.removeprefix(band).strip("/").split("/")[0]
    return f"{band}/{below}" if below else band


@cache
def _files(folder: str) -> list[str]:
    """List what a box holds: its own files, and folder/file for what lies deeper."""
    top = ROOT / folder
    bands = {band for band, _ in BANDS}
    own = [file.stem for file in sorted(top.glob("*.py")) if file.name != "__init__.py"]
    if folder in bands:
        return own
    deeper = [
        f"{path.parent.relative_to(top)}/{path.stem}"
        for path in sorted(top.glob("*/*.py"))
        if path.name != "__init__.py"
    ]
    return own + deeper


@cache
def arrows() -> dict[str, set[str]]:
    """Map every box to the boxes that its files import."""
    drawn = defaultdict(set)
    for box in rooms():
        for name in _files(box):
            # Parsed by themselves: to parse whole files takes ten times as long, and nothing else is asked of them.
            for statement in IMPORT.findall((ROOT / box / f"{name}.py").read_text("utf-8")):
                (node,) = ast.parse(statement).body
                assert isinstance(node, ast.ImportFrom)
                drawn[box] |= {_box_of(f"{node.module}.{alias.name}") for alias in node.names} - {box, ""}
    return drawn


@cache
def _box_of(name: str) -> str:
    """Return the box of a module, given a dotted name that begins with it; "" for none of ours."""
    parts = name.split(".")[1:]
    for top in ("", "src/titrant/"):
        for end in range(len(parts), 0, -1):
            path = f"{top}{'/'.join(parts[:end])}"
            if (ROOT / f"{path}.py").is_file():
                return _room(str(Path(path).parent))
    return ""


def floors(band: str) -> list[list[str]]:
    """List a band's boxes from the roof down: each stands above all that it imports within the band.

    Boxes whose files import each other's, though no folder of files does, share a floor: instruments use what inspects
    a model and what loads it, and operators use instruments.
    """
    names = [name for name in rooms() if name == band or name.startswith(f"{band}/")]
    graph = arrows()
    below = {name: _reached(name, graph, names) for name in names}
    height: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in height:
            lower = [other for other in below[name] if name not in below[other]]
            height[name] = 1 + max(map(floor, lower), default=0)
        return height[name]

    by_floor = defaultdict(list)
    for name in names:
        by_floor[floor(name)].append(name)
    rows = [sorted(by_floor[number]) for number in sorted(by_floor, reverse=True)]
    return [row[start : start + MOST_IN_A_ROW] for row in rows for start in range(0, len(row), MOST_IN_A_ROW)]


def _reached(name: str, graph: dict[str, set[str]], names: list[str]) -> set[str]:
    """Return the boxes of a band that a box imports, directly or not."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = {other for other in graph[waiting.pop()] if other in names} - reached
        reached |= new
        waiting += new
    return reached - {name}


def picture() -> str:
    """Draw the house as SVG text; the same code gives the same bytes."""
    captions, parts, y = rooms(), [], float(MARGIN)
    for band, says in BANDS:
        top, y = y, y + 44
        boxes = []
        for row in floors(band):
            width = (WIDTH - 2 * MARGIN - 2 * GAP - GAP * (len(row) - 1)) / len(row)
            lines = {name: _lines(name, captions[name], width) for name in row}
            height = 30 + LINE * max(len(text) for text in lines.values())
            for place, name in enumerate(row):
                boxes += _box(name, lines[name], (MARGIN + GAP + place * (width + GAP), y, width, height))
            y += height + GAP
        inside = f'x="{MARGIN}" y="{top:.0f}" width="{WIDTH - 2 * MARGIN}" height="{y - top:.0f}"'
        parts.append(f'<rect class="band" {inside} rx="8"/>')
        parts.append(f'<text class="name" x="{MARGIN + GAP}" y="{top + 26:.0f}">{escape(band)}</text>')
        parts.append(f'<text class="small" x="{MARGIN + 130}" y="{top + 26:.0f}">{escape(says)}</text>')
        parts += boxes
        y += 30
        if band not in ("schema", "recipes"):
            parts.append(f'<path class="arrow" d="M{WIDTH / 2:.0f} {y - 28:.0f}v20"/>')
            parts.append(f'<path class="head" d="M{WIDTH / 2 - 5:.0f} {y - 10:.0f}h10l-5 8z"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y - 30 + MARGIN:.0f}" role="img" '
        f'aria-label="The rooms of titrant, each above everything that it imports">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _lines(name: str, caption: str, width: float) -> list[tuple[str, str]]:
    """Wrap what a box says, then the files that it holds; each line with its style."""
    letters = int((width - 18) / LETTER)
    said = [("small", line) for line in wrap(caption, letters)]
    files = wrap("\u00a0· ".join(_files(name)), letters, break_long_words=False, break_on_hyphens=False)
    return said + [("files", line) for line in files]


def _box(name: str, lines: list[tuple[str, str]], box: tuple[float, float, float, float]) -> list[str]:
    x, y, width, height = box
    bands = [band for band, _ in BANDS]
    label = "files of its own" if name in bands else name.rpartition("/")[2]
    return [
        f'<rect class="room" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5"/>',
        f'<text class="name" x="{x + 9:.1f}" y="{y + 18:.1f}">{escape(label)}</text>',
        *(
            f'<text class="{style}" x="{x + 9:.1f}" y="{y + 34 + LINE * place:.1f}">{escape(line)}</text>'
            for place, (style, line) in enumerate(lines)
        ),
    ]
