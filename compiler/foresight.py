"""What a user's operator needs and would cost: asked in a child process, kept while its code stays the same."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.compiler.remember import remember, remembered
from titrant.schema.canonical import plain, sha256
from titrant.schema.facts import Hardware, HardwareVolatile, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Prediction
from titrant.schema.read_back import read_back
from titrant.schema.work import NOTHING_KNOWN, Work

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Foresight:
    """Asks the `requires`, `predict`, `loads` and `idle` of one operator of the user's.

    `code` digests the files that the operator was described from; `cache` is the home's folder for facts.
    """

    operator: str
    code: str
    ask: Ask
    cache: Path

    def requires(self, params: Any, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
        """Return what is unmet, as the operator says; StepError or RecipeError where it cannot."""
        return tuple(self._answer(self._question("requires", params, model, hardware)))

    def predict(
        self, params: Any, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
    ) -> Prediction:
        """Return what the operator predicts; StepError or RecipeError where it cannot."""
        question = self._question("predict", params, model, hardware)
        return read_back(Prediction, self._answer({**question, "work": plain(work)}))

    def loads(self, params: Any) -> tuple[str, ...]:
        """Return the modules that the operator is going to import; StepError or RecipeError where it cannot say."""
        return tuple(self._answer(self._question("loads", params)))

    def idle(self, params: Any, model: ModelFacts) -> bool:
        """Return whether the operator would give the model back as it is; StepError or RecipeError as the others."""
        return bool(self._answer(self._question("idle", params, model)))

    def _question(
        self, asked: str, params: Any, model: ModelFacts | None = None, hardware: Hardware | None = None
    ) -> dict[str, Any]:
        # What moves from one moment to the next must not enter a plan.
        machine = None if hardware is None else replace(hardware, volatile=HardwareVolatile())
        return {
            "do": "foresee",
            "operator": self.operator,
            "ask": asked,
            "params": params.model_dump(mode="json"),
            "hardware": plain(machine),
            "model": plain(model),
        }

    def _answer(self, question: dict[str, Any]) -> Any:
        key = sha256({"code": self.code, "question": question})
        place = self.cache / f"foresight-{key}.json"
        answer = remembered(place)
        if "answer" not in answer:
            answer = {"answer": self.ask(question)["answer"]}
            remember(place, answer)
        return answer["answer"]
