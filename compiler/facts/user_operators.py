"""Describe a user's operator by asking a child process, and plan with it without running its code here."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from titrant.compiler.bind.bound_recipe import BoundRecipe, located
from titrant.compiler.facts.cache import FileDigests
from titrant.runtime import catalog
from titrant.runtime.catalog import (
    Declaration,
    Determinism,
    Params,
    Port,
    never,
    no_modules,
    no_requirement,
    same_model,
    unknown_cost,
)
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import Hardware, HardwareVolatile, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.canonical import WrongValueError, plain, read_back, sha256
from titrant.schema.values.dependencies import current_digest
from titrant.schema.values.files import remember, remembered
from titrant.schema.values.frozen import dataclass

Ask = Callable[[dict[str, Any]], Mapping[str, Any]]

# Raised when the answer's form changes, so that old answers are asked for again.
_FORM = 5


@dataclass(frozen=True)
class OperatorAnswers:
    """Asks the `requires`, `predict`, `loads`, `idle` and `model_after` of one operator of the user's.

    `code` digests the files that the operator was described from; `cache` is the home's folder for facts.
    """

    operator: str
    code: str
    ask: Ask
    cache: Path

    def requires(self, params: Any, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
        """Return what is unmet, as the operator says; StepError or RecipeError where it cannot."""
        return read_back(tuple[Unmet, ...], self._answer(self._question("requires", params, model, hardware)))

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

    def model_after(self, params: Any, model: ModelFacts) -> ModelFacts:
        """Return the facts of the model that the operator makes; StepError or RecipeError where it cannot say."""
        return read_back(ModelFacts, self._answer(self._question("model_after", params, model)))

    def _question(
        self, asked: str, params: Any, model: ModelFacts | None = None, hardware: Hardware | None = None
    ) -> dict[str, Any]:
        # What moves from one moment to the next must not enter a plan.
        machine = None if hardware is None else replace(hardware, volatile=HardwareVolatile())
        return {
            "do": "ask_operator",
            "operator": self.operator,
            "ask": asked,
            "params": params.model_dump(mode="json"),
            "hardware": plain(machine),
            "model": plain(model),
        }

    def _answer(self, question: dict[str, Any]) -> Any:
        key = sha256({"code": self.code, "question": question, "form": _FORM})
        place = self.cache / f"foresight-{key}.json"
        answer = remembered(place)
        if "answer" not in answer:
            answer = {"answer": self.ask(question)["answer"]}
            remember(place, answer)
        return answer["answer"]


@dataclass(frozen=True)
class _Operator:
    """What of an operator enters the keys of its results."""

    version: int
    determinism: Determinism
    libraries: tuple[str, ...]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class _Declared:
    """What planning and the documentation need of an operator besides."""

    family: str
    inputs: Mapping[str, Port]
    consumes: tuple[str, ...]
    doc: str
    method: Method | None
    user_code: bool
    costless: tuple[str, ...]
    parameters: Mapping[str, Any]  # as a JSON schema
    answers_for: tuple[str, ...]


@dataclass(frozen=True)
class _Answer:
    """What the worker says of an operator; `dependencies` are the files and packages that it rests on."""

    operator: _Operator
    declared: _Declared
    dependencies: tuple[Mapping[str, str], ...]


class UserParams(Params):
    """A user's operator's parameters: their names are checked against its description, their values where it runs."""

    model_config = ConfigDict(extra="allow")


def enter_user_operators(bound: BoundRecipe, ask: Ask, cache: Path, digests: FileDigests) -> None:
    """Enter the user's operator that `quantization.method` names, if it names one, in the catalog.

    Raises RecipeError when it is no reduction, or has no option of a name that the recipe sets.
    """
    reference = bound.recipe.quantization.method
    if ":" not in reference:
        return
    place = _place(bound, cache)
    answer = _remembered(place, bound.folder, digests)
    if answer is None:
        asked = located(bound, lambda: ask({"do": "describe", "operator": reference}))
        kept = {part: asked[part] for part in ("operator", "declared", "dependencies")}
        answer = _read(bound, kept)
        remember(place, kept)

    def ask_child(question: dict[str, Any]) -> Mapping[str, Any]:
        return located(bound, lambda: ask(question))

    declaration = _declaration(
        reference, answer, OperatorAnswers(reference, sha256(answer.dependencies), ask_child, cache)
    )
    _check(bound, declaration, answer.declared.parameters)
    catalog.enter(declaration)


def _read(bound: BoundRecipe, kept: Mapping[str, Any]) -> _Answer:
    """Read what the worker says of an operator; RecipeError X314 where its declaration holds what it cannot hold."""
    try:
        return read_back(_Answer, kept)
    except WrongValueError as error:
        name = ".".join(str(part) for part in error.place[1:])
        message = f"{bound.recipe.quantization.method} is declared wrongly: `{name}` is {error.reason}"
        where = bound.parsed.source.place(("quantization", "method"), "value")
        raise RecipeError(Diagnostic("X314", message, where, "mend it where @operator declares it")) from None


def check_described(bound: BoundRecipe, cache: Path) -> tuple[Diagnostic, ...]:
    """Check the options of a user's operator that was described before; a warning (R119) for one that was not.

    Nothing of it runs: until a plan asks a child process, there is nothing to check it against. Raises RecipeError
    where the options are wrong.
    """
    reference = bound.recipe.quantization.method
    if ":" not in reference:
        return ()
    answer = _remembered(_place(bound, cache), bound.folder, FileDigests(cache / "files.json"))
    if answer is None:
        where = bound.parsed.source.place(("quantization", "method"), "value")
        advice = "`titrant plan` runs its module in a child process once, and then its options are checked"
        return (Diagnostic("R119", f"not checked: {reference}", where, advice, "warning"),)
    unasked = OperatorAnswers(reference, "", _elsewhere, cache)
    _check(bound, _declaration(reference, answer, unasked), answer.declared.parameters)
    return ()


def _place(bound: BoundRecipe, cache: Path) -> Path:
    return cache / f"operator-{sha256([_FORM, bound.recipe.quantization.method, str(bound.folder)])}.json"


def _declaration(reference: str, answer: _Answer, answers: OperatorAnswers) -> Declaration:
    """Build the declaration of an operator from what the worker said of it; it cannot be run here.

    What it needs and would cost is asked of `answers`, where the operator says so itself.
    """
    operator, declared = answer.operator, answer.declared
    answered = declared.answers_for
    return Declaration(
        name=reference,
        version=operator.version,
        family=declared.family,
        params=UserParams,
        inputs=declared.inputs,
        outputs=operator.outputs,
        consumes=declared.consumes,
        determinism=operator.determinism,
        requires=answers.requires if "requires" in answered else no_requirement,
        loads=answers.loads if "loads" in answered else no_modules,
        idle=answers.idle if "idle" in answered else never,
        model_after=answers.model_after if "model_after" in answered else same_model,
        costless=declared.costless,
        predict=answers.predict if "predict" in answered else unknown_cost,
        libraries=operator.libraries,
        user_code=declared.user_code,
        run=_elsewhere,
        doc=declared.doc,
        method=None if declared.method is None else replace(declared.method, name=reference),
    )


def _elsewhere(*_: Any, **__: Any) -> Mapping[str, Any]:
    raise RuntimeError("a user's operator runs in the worker only")


def _check(bound: BoundRecipe, declaration: Declaration, parameters: Mapping[str, Any]) -> None:
    source = bound.parsed.source
    where = source.place(("quantization", "method"), "value")
    if declaration.method is None or "model" not in declaration.inputs or "model" not in declaration.outputs:
        message = (
            f"{declaration.name} cannot be a quantization method: it declares no `method`, or no `model` in and out"
        )
        raise RecipeError(Diagnostic("P011", message, where, "declare it with `method=Method(…)`"))
    takes, kinds = declaration.method.takes, declaration.inputs["model"].kinds
    if takes not in kinds:
        message = (
            f"{declaration.name} cannot be a quantization method: it takes {takes}, and its `model` input is "
            f"declared as {' or '.join(kinds)}"
        )
        raise RecipeError(Diagnostic("P011", message, where, f'give both the same kind, as `takes="{kinds[0]}"`'))
    names = parameters.get("properties", {})
    unknown = [
        Diagnostic(
            "P012",
            f"{declaration.name} has no option `{name}`",
            source.place(("quantization", "options", name)),
            f"its options are {', '.join(sorted(names)) or 'none'}",
        )
        for name in bound.recipe.quantization.options
        if name not in names
    ]
    if unknown:
        raise RecipeError(*unknown)


def _remembered(place: Path, folder: Path, digests: FileDigests) -> _Answer | None:
    """Return an earlier answer; None where the code changed since, and where the file holds no answer."""
    try:
        answer = read_back(_Answer, remembered(place))
        unchanged = all(
            current_digest(item["path"], folder, digests.of) == item["digest"] for item in answer.dependencies
        )
    except (OSError, KeyError, ValueError):  # also a path with a null character
        return None
    return answer if unchanged else None
