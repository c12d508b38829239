"""What each pass over a plan changed, as text."""

from titrant.compiler.passes import Change
from titrant.layout import wrapped
from titrant.schema.units import counted


def trace_text(changes: tuple[Change, ...]) -> str:
    """Write one block a pass: how many steps before and after, and which came, went, merged or moved."""
    return "passes\n" + "\n".join(_change(change) for change in changes)


def _change(change: Change) -> str:
    lines = [f"  {change.name}: {counted(change.before, 'step')} → {change.after}"]
    for words, steps in (("removed", change.removed), ("added", change.added), ("changed", change.rewired)):
        if steps:
            lines.append(wrapped(f"{words}: {', '.join(steps)}", "      ", "        "))
    if change.moved:
        lines.append("      moved: the steps stand in another order")
    if len(lines) == 1:
        lines.append("      nothing to do")
    return "\n".join(lines)
