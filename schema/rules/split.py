"""Rules of `data.split`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from titrant.schema.diagnostics import Diagnostic
from titrant.schema.nearest import nearest
from titrant.schema.rules.draft import Draft

_ROOM = 1e-9  # tenths add up to a little more than one in binary


def shares_fit(draft: Draft) -> Iterator[Diagnostic]:
    """The shares of one source add up to at most 1."""
    if draft.data is None:
        return
    total: dict[str, float] = defaultdict(float)
    known = ("", *(draft.data.sources or ()))
    named = draft.data.source is None or draft.data.source.factory is None
    for role, share in draft.data.split.roles.items():
        for source, part in _parts(share).items():
            if named and source not in known:
                continue  # the name is the mistake
            fitted = total[source] <= 1 + _ROOM
            total[source] += part
            if fitted and total[source] > 1 + _ROOM:
                owner = f"of `{source}`" if source else "of the source"
                message = f"the shares {owner} add up to {total[source]:.6g} with this one"
                advice = "they may add up to 1 at most: a row has one role"
                yield draft.value("R022", message, ("data", "split", role), advice)


def names_fit(draft: Draft) -> Iterator[Diagnostic]:
    """Sources are named exactly where there are several, and each name exists."""
    data = draft.data
    if data is None or (data.source is None and data.sources is None):
        return
    names = tuple(data.sources or ())
    if data.source is not None and data.source.factory is not None:
        return  # a factory may return several sources, whose names only it knows
    if data.sources is not None and not draft.source.has(("data", "split")):
        advice = f"add `split: {{train: {names[0]}, evaluation: …}}` under `data`"
        yield draft.key(
            "R013", "`data.sources` needs a `split` that says which source is for what", ("data", "sources"), advice
        )
        return
    for role, share in data.split.roles.items():
        path = ("data", "split", role)
        if isinstance(share, float | int):
            if data.sources is not None:
                advice = f"write a source name for each role, or `{{{names[0]}: {share:g}}}`"
                yield draft.value("R022", f"`{role}` does not say of which source it is a share", path, advice)
                return
            continue
        for name in (share,) if isinstance(share, str) else share:
            if name in names:
                continue
            if percent := re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?) ?%", name):
                advice = f"fractions are 0 to 1, never percent: write `{float(percent[1]) / 100:g}`"
                yield draft.value("R014", f"`{role}` is a fraction or a source, not the text `{name}`", path, advice)
                continue
            close = nearest(name, names)
            advice = f"did you mean `{close}`?" if close else _known(names)
            message = f"there is no source `{name}`"
            if isinstance(share, str):
                yield draft.value("R027", message, path, advice)
            else:
                yield draft.key("R027", message, (*path, name), advice)


def order_fits(draft: Draft) -> Iterator[Diagnostic]:
    """A contiguous split cannot keep the classes' shares equal."""
    if draft.data is None:
        return
    split = draft.data.split
    if split.by == "order" and split.stratify and draft.source.has(("data", "split", "stratify")):
        message = "`by: order` keeps rows in their order, so that `stratify` has nothing to choose"
        yield draft.key("R022", message, ("data", "split", "stratify"), "take `stratify` out, or split by `row`")


def _known(names: tuple[str, ...]) -> str:
    if not names:
        return "with one `source`, a role is a fraction from 0 to 1; names belong to `sources`"
    return "the sources are " + ", ".join(f"`{name}`" for name in names)


def _parts(share: float | str | Mapping[str, float]) -> Mapping[str, float]:
    """Return the share of each source, "" for the only one."""
    if isinstance(share, Mapping):
        return share
    return {share: 1.0} if isinstance(share, str) else {"": share}


RULES = (shares_fit, names_fit, order_fits)
