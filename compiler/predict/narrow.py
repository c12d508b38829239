"""Which candidates `auto` does not make: those that cannot win by what is expected of them, and those beyond a budget.

A candidate that might win is never dropped on a guess: what is expected has to be worse by more than it may be wrong.
"""

from collections.abc import Callable, Mapping, Sequence

from titrant.compiler.decide.rule import LeftOut, SearchBudget
from titrant.compiler.predict.outlook import Outlook
from titrant.schema.recipe.own_metric import is_own
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import counted, format_size, format_time

# How far the ratio of two expected latencies may be off. Within an engine all but the method's own factor is in both.
MARGIN, SAME_ENGINE_MARGIN = 2.0, 1.5
# How far an expected size may be off, as a share and in bytes at least.
SIZE_MARGIN, LEAST_BYTES = 0.06, 32 << 10
# Limits by which a plain conversion may fail although nothing is lost in it, as its speed alone does not tell.
FAST = ("latency", "throughput")
# Methods with which smaller networks are tried.
GROWN = 2


@dataclass(frozen=True)
class Aims:
    """What the search is after: objectives, the first first, the size that a file may have, and the budget.

    `plain_may_fail` says that a limit other than on size or time may keep a plain conversion from being released.
    """

    objective: tuple[str, ...]
    size: int | None = None
    plain_may_fail: bool = False
    budget: SearchBudget = SearchBudget()
    written: bool = False  # the budget is the recipe's


def leave_out(searches: Sequence[Sequence[Outlook]], aims: Aims) -> dict[str, LeftOut]:
    """Return the chains that no search makes, each with the reason; plain conversions are always made.

    What one search drops stays where another, for a file of another format, may need it. What waits for a chain goes
    with it, and takes no room in the budget; smaller networks are tried with the methods that promise most.
    """
    dropped = _of_all(searches, lambda search: hopeless(search, aims))
    left = [[item for item in search if item.chain not in dropped and not item.base] for search in searches]
    cut = _of_all(left, lambda search: beyond_budget(search, aims))
    out = {
        **{name: LeftOut(because) for name, because in dropped.items()},
        **{name: LeftOut(because, by_budget=True) for name, because in cut.items()},
    }
    waiting = {item.chain: item.base for search in searches for item in search if item.base in out}
    out = {**{name: out[base] for name, base in waiting.items()}, **out}
    grown = _of_all(searches, lambda search: _not_grown(search, aims, out))
    return {**{name: LeftOut(because) for name, because in grown.items() if name not in out}, **out}


def _not_grown(search: Sequence[Outlook], aims: Aims, out: Mapping[str, LeftOut]) -> dict[str, str]:
    """Say with which methods smaller networks are not tried."""
    bases = {item.base for item in search if item.grows}
    kept = [item for item in search if item.chain in bases and item.chain not in out]
    best = [item.chain for item in sorted(kept, key=lambda item: merit(item, aims.objective))][:GROWN]
    because = f"smaller networks are tried with {' and '.join(best)}"
    return {item.chain: because for item in search if item.grows and item.base not in best}


def _of_all(
    searches: Sequence[Sequence[Outlook]], choose: Callable[[Sequence[Outlook]], Mapping[str, str]]
) -> dict[str, str]:
    """Return what every search that has a chain leaves out, with the first reason."""
    chosen = [(choose(search), {item.chain for item in search}) for search in searches]
    return {
        name: because
        for reasons, _ in chosen
        for name, because in reasons.items()
        if all(name in others for others, members in chosen if name in members)
    }


def hopeless(search: Sequence[Outlook], aims: Aims) -> dict[str, str]:
    """Say why candidates of methods cannot win; of nothing where every one of them would be too large."""
    methods = [item for item in search if not item.plain]
    too_large = {item.chain: because for item in methods if (because := _too_large(item, aims))}
    if all(_too_large(item, aims) for item in search):
        too_large = {}
    references = [] if aims.plain_may_fail else [item for item in search if item.plain and _surely_fits(item, aims)]
    reasons: dict[str, str] = {}
    for item in methods:
        because = too_large.get(item.chain) or _too_slow(item, references, aims) or _too_long(item, aims)
        if because:
            reasons[item.chain] = because
    return reasons


def _too_large(item: Outlook, aims: Aims) -> str:
    if aims.size is None or item.bytes is None:
        return ""
    if item.bytes - max(LEAST_BYTES, SIZE_MARGIN * item.bytes) <= aims.size:
        return ""
    return f"its file is expected to take {format_size(item.bytes)}, and target.size is {format_size(aims.size)}"


def _surely_fits(item: Outlook, aims: Aims) -> bool:
    if aims.size is None:
        return True
    return item.bytes is not None and item.bytes + max(LEAST_BYTES, SIZE_MARGIN * item.bytes) <= aims.size


def _too_slow(item: Outlook, references: Sequence[Outlook], aims: Aims) -> str:
    """Say which plain conversion, which loses nothing, is faster beyond doubt."""
    if aims.objective[0] not in FAST:
        return ""
    for other in sorted(references, key=lambda each: (each.seconds or 0.0, each.chain)):
        times = times_slower(item, other)
        if times is not None and times > margin(item, other):
            return f"it is expected to take {times:.1f} times as long as {other.chain}"
    return ""


def times_slower(item: Outlook, other: Outlook) -> float | None:
    """Return how many times as long as another one is expected to take; None where that is not known."""
    if item.seconds is None or not other.seconds:
        return None
    return item.seconds / other.seconds


def margin(item: Outlook, other: Outlook) -> float:
    """Return how far the ratio of two expected latencies may be off, as a factor."""
    return SAME_ENGINE_MARGIN if item.engine == other.engine else MARGIN


def _too_long(item: Outlook, aims: Aims) -> str:
    minutes = aims.budget.minutes
    if minutes is None or item.making_seconds is None or item.making_seconds <= MARGIN * 60 * minutes:
        return ""
    taken = format_time(item.making_seconds)
    return f"making it is expected to take {taken}, and search.budget.minutes is {minutes:g}"


def beyond_budget(search: Sequence[Outlook], aims: Aims) -> dict[str, str]:
    """Say which candidates of methods the budget has no room for: what may win goes before what may not.

    Among those that may, the best of each kind goes before a second of any. `auto` always has room for candidates of
    which nothing is known.
    """
    room = aims.budget.evaluations
    if room is None:
        return {}
    methods = sorted((item for item in search if not item.plain), key=lambda item: merit(item, aims.objective))
    firsts: dict[object, Outlook] = {}
    for item in methods:
        firsts.setdefault(item.kind, item)
    fastest = min((item.seconds for item in methods if item.seconds is not None), default=None)

    def place(item: Outlook) -> tuple[bool, bool]:
        return _is_behind(item, fastest, aims), firsts[item.kind] is not item

    unknown = [] if aims.written else [item for item in methods if item.kind == item.chain]
    ordered = sorted((item for item in methods if item not in unknown), key=place)
    return {item.chain: f"{counted(room, 'other')} of methods come first" for item in ordered[room:]}


def _is_behind(item: Outlook, fastest: float | None, aims: Aims) -> bool:
    """Whether a candidate is expected to be slower than the fastest by more than the comparison may be off."""
    if item.seconds is None or fastest is None or aims.objective[0] not in FAST:
        return False
    return item.seconds > MARGIN * fastest


def merit(item: Outlook, objective: Sequence[str]) -> tuple[float, ...]:
    """Order candidates by what is expected of them, the best first; what is not known comes before what is.

    The later objectives decide where the earlier ones are alike, and then the gentler one comes first.
    """
    figures = {name: _expected(item, name) for name in objective}
    return (*(figures[name] for name in objective), float(item.rank))


def _expected(item: Outlook, name: str) -> float:
    """Return what is expected in one objective, less for better: memory goes with the file, quality with gentleness."""
    if name == "quality" or is_own(name):
        return float(item.rank)
    expected = item.seconds if name in FAST else item.bytes
    return -1.0 if expected is None else float(expected)
