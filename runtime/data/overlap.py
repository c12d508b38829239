"""Find rows that two sources share in different roles, and drop them from the role that does not judge."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from titrant.schema.diagnostics import Diagnostic, PreconditionError

if TYPE_CHECKING:
    from titrant.runtime.operators.data_split import DataSplitParams

# The first keeps a row that several have: what judges goes before what chooses, that before what fits.
PRECEDENCE = ("evaluation", "tuning", "calibration", "train")

Roles = Mapping[str, Mapping[str, np.ndarray]]


def settle_overlap(
    params: "DataSplitParams", roles: Roles, contents: Mapping[str, np.ndarray], units: Mapping[str, np.ndarray]
) -> tuple[dict[str, dict[str, np.ndarray]], list[str], int]:
    """Compare the rows of roles that draw from different sources, and their units where a column keeps rows together.

    Returns the rows that are kept, notes, and how many were dropped. Raises PreconditionError X111 with the counts
    where `overlap` is error.
    """
    kept = {role: dict(sources) for role, sources in roles.items()}
    identities = [("inputs", contents)] + ([(params.by, units)] if params.by not in ("row", "order") else [])
    shared: dict[tuple[str, str, str], int] = {}
    for what, identity in identities:
        for (owner, judged), (role, other) in _pairs(kept):
            own = identity[other][kept[role][other]]
            copies = np.isin(own, identity[judged][kept[owner][judged]])
            if copies.any():
                shared[what, f"{role} ({other})", f"{owner} ({judged})"] = int(copies.sum())
                kept[role][other] = kept[role][other][~copies]
    if shared and params.overlap == "error":
        raise PreconditionError(_told(shared))
    notes = [
        f"{count} rows of {role} dropped: the same {what} as in {owner}"
        for (what, role, owner), count in shared.items()
    ]
    return kept, notes, sum(shared.values())


def _pairs(roles: Roles) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """List every (role, source) with those of lower precedence in another role and another source."""
    shares = [(role, name) for role in PRECEDENCE for name in roles.get(role, {})]
    for place, first in enumerate(shares):
        yield from ((first, other) for other in shares[place + 1 :] if other[0] != first[0] and other[1] != first[1])


def _told(shared: Mapping[tuple[str, str, str], int]) -> Diagnostic:
    found = "; ".join(
        f"{count} rows of {role} have the same {what} as rows of {owner}"
        for (what, role, owner), count in shared.items()
    )
    return Diagnostic(
        "X111", found, help="`split: {overlap: drop}` leaves them in the role that judges (evaluation before tuning, …)"
    )
