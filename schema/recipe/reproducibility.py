"""The `reproducibility` section: what keeps bytes equal."""

from pydantic import Field

from titrant.schema.recipe.terms import Section, Threads


class Reproducibility(Section):
    """How work that makes bytes is done."""

    deterministic: bool = Field(True, description="use deterministic kernels only")
    threads: Threads = Field(1, description="threads for training and calibration; another number gives other bytes")
