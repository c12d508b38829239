"""Read model and data facts back from JSON."""

from collections.abc import Mapping
from typing import Any

from titrant.schema.facts import Column, DataFacts, Layer, ModelFacts, RoleFacts, TensorSpec


def read_model_facts(value: Mapping[str, Any]) -> ModelFacts:
    """Read what `plain(ModelFacts)` wrote; by hand, since a model may have ten thousand layers."""
    return ModelFacts(
        **{
            **value,
            "layers": tuple(
                Layer(**{**layer, "weight_shape": tuple(layer["weight_shape"])}) for layer in value["layers"]
            ),
            "inputs": _specs(value["inputs"]),
            "outputs": _specs(value["outputs"]),
            "notes": tuple(value["notes"]),
        }
    )


def read_data_facts(value: Mapping[str, Any]) -> DataFacts:
    """Read what `plain(DataFacts)` wrote."""
    return DataFacts(
        **{
            **value,
            "columns": tuple(Column(**{**column, "shape": tuple(column["shape"])}) for column in value["columns"]),
            "classes": tuple(value["classes"]),
            "inputs": _specs(value["inputs"]),
            "roles": {name: RoleFacts(**role) for name, role in value["roles"].items()},
            "notes": tuple(value["notes"]),
        }
    )


def _specs(values: list[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**value, "shape": tuple(value["shape"])}) for value in values)
