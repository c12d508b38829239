"""What the steps on data cost: what they took when the data was inspected, in this very way."""

from titrant.schema.facts import DataFacts

# What a step costs that does next to nothing: its folder, its request, its result.
BASE_SECONDS = 0.012


def inspected(data: DataFacts, part: str, otherwise: float) -> tuple[float, str]:
    """Return the seconds of a part of the inspection with their basis, or else a guess."""
    if part in data.seconds:
        return data.seconds[part] * 1.1 + BASE_SECONDS, "modelled"
    return otherwise, "guess"
