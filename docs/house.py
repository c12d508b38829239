"""Draw the rooms from the code itself: folders as boxes, each above everything that it imports."""

import ast
from collections import defaultdict
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parent.parent
# Top-level folder, from the roof to the ground, and what the band says of it.
BANDS = (
    ("src/titrant", "what people call: the command line and the public functions"),
    (
        "compiler",
        "one way: a recipe, a machine and facts in, a verified plan out; of the runtime it knows the catalog only",
    ),
    ("runtime", "what a plan is made of and what carries it out; knows nothing of the compiler"),
    ("schema", "values: the recipe language, facts, plan, gates, record, lock; knows nothing of the others"),
)
WIDTH, MARGIN, GAP, LINE, MOST_IN_A_ROW = 1180, 24, 12, 15, 4
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .name { font-weight: 600 } .small { font-size: 11px }
.band { fill: #f6f8fa; stroke: #d0d7de } .room { fill: #ffffff; stroke: #8c959f } .arrow { stroke: #57606a; fill: none }
.head { fill: #57606a }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .band { fill: #161b22; stroke: #30363d }
.room { fill: #0d1117; stroke: #6e7681 } .arrow { stroke: #8b949e } .head { fill: #8b949e } }
"""


def rooms() -> dict[str, str]:
    """Map every folder with modules to what its `__init__` says of it."""
    found = {}
    for band, _ in BANDS:
        for file in sorted((ROOT / band).rglob("__init__.py")):
            folder = str(file.parent.relative_to(ROOT))
            if not any(parent.is_symlink() for parent in file.parents) and _modules(folder):
                found[folder] = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0]
    return found


def _modules(folder: str) -> list[Path]:
    return [file for file in sorted((ROOT / folder).glob("*.py")) if file.name != "__init__.py"]


def arrows() -> dict[str, set[str]]:
    """Map every folder to the folders that its files import."""
    drawn = defaultdict(set)
    for folder in rooms():
        for file in _modules(folder):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("titrant."):
                    for alias in node.names:
                        drawn[folder].add(_folder(f"{node.module}.{alias.name}"))
        drawn[folder] -= {folder, ""}
    return drawn


def _folder(name: str) -> str:
    """Return the folder of a module, given a dotted name that begins with it; "" for none of ours."""
    parts = name.split(".")[1:]
    for top in (ROOT, ROOT / "src" / "titrant"):
        for end in range(len(parts), 0, -1):
            file = top.joinpath(*parts[:end]).with_suffix(".py")
            if file.is_file():
                return (
                    str(file.parent.relative_to(ROOT)) if top == ROOT else f"src/titrant/{'/'.join(parts[: end - 1])}"
                )
    return ""


def floors(band: str) -> list[list[str]]:
    """List a band's rooms from the roof down: each stands above all that it imports within the band."""
    names = [name for name in rooms() if name == band or name.startswith(f"{band}/")]
    graph = arrows()
    height: dict[str, int] = {}

    def floor(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((floor(below) for below in graph[name] if below in names), default=0)
        return height[name]

    by_floor = defaultdict(list)
    for name in names:
        by_floor[floor(name)].append(name)
    rows = [sorted(by_floor[number]) for number in sorted(by_floor, reverse=True)]
    return [row[start : start + MOST_IN_A_ROW] for row in rows for start in range(0, len(row), MOST_IN_A_ROW)]


def picture() -> str:
    """Draw the house as SVG text; the same code gives the same bytes."""
    captions, parts, y = rooms(), [], MARGIN
    for band, says in BANDS:
        top, y = y, y + 44
        boxes = []
        for row in floors(band):
            width = (WIDTH - 2 * MARGIN - 2 * GAP - GAP * (len(row) - 1)) / len(row)
            lines = {name: wrap(captions[name], max(12, int(width / 6.1)))[:4] for name in row}
            height = 30 + LINE * max(len(text) for text in lines.values())
            for place, name in enumerate(row):
                boxes += _box(name, lines[name], (MARGIN + GAP + place * (width + GAP), y, width, height))
            y += height + GAP
        parts.append(
            f'<rect class="band" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}" height="{y - top}" rx="8"/>'
        )
        parts.append(f'<text class="name" x="{MARGIN + GAP}" y="{top + 26}">{escape(band)}</text>')
        parts.append(f'<text class="small" x="{MARGIN + 130}" y="{top + 26}">{escape(says)}</text>')
        parts += boxes
        y += 30
        if band != BANDS[-1][0]:
            parts.append(f'<path class="arrow" d="M{WIDTH / 2:.0f} {y - 28}v20"/>')
            parts.append(f'<path class="head" d="M{WIDTH / 2 - 5:.0f} {y - 10}h10l-5 8z"/>')
    height = y - 30 + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="The rooms of titrant, each above everything that it imports">\n<style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _box(name: str, lines: list[str], box: tuple[float, float, float, float]) -> list[str]:
    x, y, width, height = box
    count = len(_modules(name))
    label = next(
        (name.removeprefix(f"{band}/") for band, _ in BANDS if name.startswith(f"{band}/")), "in the folder itself"
    )
    files = f"{count} file{'s' if count > 1 else ''}"
    return [
        f'<rect class="room" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5"/>',
        f'<text x="{x + 9:.1f}" y="{y + 18:.1f}"><tspan class="name">{escape(label)}</tspan>'
        f'<tspan class="small"> · {files}</tspan></text>',
        *(
            f'<text class="small" x="{x + 9:.1f}" y="{y + 34 + LINE * place:.1f}">{escape(line)}</text>'
            for place, line in enumerate(lines)
        ),
    ]
