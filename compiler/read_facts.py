"""Read model and data facts back from JSON."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.read_back import read_back


def read_model_facts(value: Mapping[str, Any]) -> ModelFacts:
    """Read what `plain(ModelFacts)` wrote; WrongValueError for anything else."""
    return read_back(ModelFacts, value)


def read_data_facts(value: Mapping[str, Any]) -> DataFacts:
    """Read what `plain(DataFacts)` wrote; WrongValueError for anything else."""
    return read_back(DataFacts, value)
