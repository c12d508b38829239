"""The predicted cost of a candidate's model, from the prediction of the step that times it."""

from collections.abc import Callable, Iterable

from titrant.schema.plan import ModelCost, Prediction, Search


def candidate_cost(
    candidate: str, searches: Iterable[Search], predicted: Callable[[str], Prediction | None]
) -> tuple[ModelCost, str] | None:
    """Return a candidate's cost and the batch size that is judged, as text; None where nothing was predicted.

    `predicted` gives the prediction of a step by its id, None where there is none.
    """
    for search in searches:
        made = predicted(search.timings.rpartition(".")[0]) if candidate in search.candidates else None
        if made is not None and (cost := made.models.get(candidate)) is not None:
            return cost, str(search.timing_batch)
    return None
