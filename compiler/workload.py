"""What every step of a plan has to work on: rows, bytes and models at its ports, from the facts alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from titrant.compiler.ports import Declare
from titrant.runtime.catalog import Declaration
from titrant.schema.data_size import rows_bytes
from titrant.schema.facts import DataFacts
from titrant.schema.plan import Plan, Prediction, Step
from titrant.schema.work import ModelUse, Work

_MODELS = ("torch", "onnx", "torchscript")


@dataclass
class Workload:
    """Follows a plan in its order; every step is asked for with `of` and told of with `note` before the next."""

    plan: Plan
    data: DataFacts
    declare: Declare
    _rows: dict[str, int] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)
    _models: dict[str, ModelUse] = field(default_factory=dict)
    _values_bytes: int = 0

    def of(self, step: Step) -> Work:
        """Return what a step reads, as far as it is known."""
        ports = dict(_references(step))
        return Work(
            rows={port: self._rows[source] for port, source in ports.items() if source in self._rows},
            bytes={port: self._bytes[source] for port, source in ports.items() if source in self._bytes},
            models={port: self._models[source] for port, source in ports.items() if source in self._models},
            data=self.data,
            threads=self.plan.threads,
            steps=len(self.plan.steps),
            candidates=len(self.plan.candidates),
            values_bytes=self._values_bytes,
        )

    def note(self, step: Step, prediction: Prediction) -> None:
        """Remember what a step is expected to give."""
        declaration = self.declare(step.operator)
        if set(declaration.outputs.values()) == {"value"}:
            self._values_bytes += prediction.output_bytes or 0
        for port, kind in declaration.outputs.items():
            name = f"{step.id}.{port}"
            if kind == "rows":
                self._note_rows(name, port)
            elif kind in _MODELS:
                self._models[name] = self._model(step, declaration, kind, prediction)
            elif kind == "outputs":
                self._rows[name] = sum(
                    self._rows.get(source, 0) for source in step.inputs.values() if isinstance(source, str)
                )
            if kind != "rows" and prediction.output_bytes is not None:
                self._bytes[name] = prediction.output_bytes

    def _note_rows(self, name: str, role: str) -> None:
        facts = self.data.roles.get(role)
        self._rows[name] = facts.rows if facts is not None else 0
        self._bytes[name] = rows_bytes(self.data, role)

    def _model(self, step: Step, declaration: Declaration, kind: str, prediction: Prediction) -> ModelUse:
        before = next((self._models[source] for _, source in _references(step) if source in self._models), ModelUse())
        if declaration.method is not None:
            return ModelUse(declaration.method.name, kind, prediction.output_bytes)
        return ModelUse(before.method, kind, prediction.output_bytes)


def _references(step: Step) -> Iterator[tuple[str, str]]:
    """List the ports of a step with what they read; of a port that takes many, every name there."""
    for port, source in step.inputs.items():
        if isinstance(source, Mapping):
            yield from source.items()
        else:
            yield port, source
