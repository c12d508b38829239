"""What a user's operator needs and would cost: asked in a child process, kept while its code stays the same."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.compiler.remember import remember
from titrant.schema.canonical import plain, sha256
from titrant.schema.facts import Hardware, HardwareVolatile, ModelFacts
from titrant.schema.frozen import dataclass
from titrant.schema.plan import Prediction
from titrant.schema.read_back import WrongValueError, read_back
from titrant.schema.work import NOTHING_KNOWN, Work

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Foresight:
    """Asks the `requires` and `predict` of one operator of the user's.

    `code` digests the files that the operator was described from; `cache` is the home's folder for facts.
    """

    operator: str
    code: str
    ask: Ask
    cache: Path

    def requires(self, params: Any, hardware: Hardware, model: ModelFacts | None) -> tuple[str, ...]:
        """Return what is unmet, as the operator says; StepError or RecipeError where it cannot."""
        return tuple(self._answer(self._question("requires", params, hardware, model)))

    def predict(
        self, params: Any, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
    ) -> Prediction:
        """Return what the operator predicts; StepError or RecipeError where it cannot."""
        question = self._question("predict", params, hardware, model)
        return read_back(Prediction, self._answer({**question, "work": plain(work)}))

    def _question(self, asked: str, params: Any, hardware: Hardware, model: ModelFacts | None) -> dict[str, Any]:
        # What moves from one moment to the next must not enter a plan.
        machine = replace(hardware, volatile=HardwareVolatile())
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
        answer = _kept(place)
        if answer is None:
            answer = {"answer": self.ask(question)["answer"]}
            remember(place, answer)
        return answer["answer"]


def _kept(place: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        read_back(dict[str, Any], found)
    except (OSError, ValueError, WrongValueError):
        return None
    return found if "answer" in found else None
