"""A gate that cannot be computed."""


class Unassessable(Exception):  # noqa: N818 - not an error: the gate answers INCONCLUSIVE with this reason
    """Why a gate cannot be computed on these cases, as a clause for a person."""
