"""The basis of a step's figures in words, for both the plan and the report."""

from collections.abc import Mapping

from titrant.schema.plan import FIGURES, Prediction

# figure → its name in a sentence
_CALLED: Mapping[str, str] = {"seconds": "time", "peak_bytes": "memory", "output_bytes": "output"}


def basis_words(prediction: Prediction) -> str:
    """Name the basis of the time, and which figures have another ("modelled, output counted"); "" for no figure."""
    bases = {name: prediction.basis_of(name) for name in FIGURES if getattr(prediction, name) is not None}
    if not bases:
        return ""
    main = next(iter(bases.values()))
    others: dict[str, list[str]] = {}
    for name, basis in bases.items():
        if basis != main:
            others.setdefault(basis, []).append(_CALLED[name])
    return ", ".join([main, *(f"{' and '.join(names)} {basis}" for basis, names in others.items())])
