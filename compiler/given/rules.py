"""What is settled where one file is judged that was optimized elsewhere: it alone, as it is, and nothing is made."""

from collections.abc import Callable, Mapping
from functools import partial

from titrant.compiler.decide.measuring import search_budget
from titrant.compiler.decide.rule import Chain, ExportRequest, LoadStep, Question, RuleAnswer, decision
from titrant.compiler.decide.target import DEFAULT_NAME
from titrant.compiler.given.file import GivenFile
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.backends.model_kind import ModelKind
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import GIVEN


def rules(given: GivenFile) -> Mapping[str, Callable[[Question], RuleAnswer]]:
    """Return what takes the place of the usual rules, by subject, where this file alone is judged."""
    return {
        "exports": partial(exports, given=given),
        "reductions": reductions,
        "methods": partial(chains, given=given),
        "number_format": chains_as_they_are,
        "layers": nothing,
        "budget": budget,
        "repairs": chains_as_they_are,
        "ladder": ladder,
    }


def exports(question: Question, *, given: GivenFile) -> RuleAnswer:
    """Ask for the file's own format alone, named as the recipe names a file of that format."""
    kind = kind_of(given)
    asked = next((item for item in question.recipe.export if item.format in ("auto", kind.format)), None)
    name = (asked.name if asked is not None else None) or DEFAULT_NAME
    formats = ", ".join(item.format for item in question.recipe.export)
    line = decision(
        question,
        "export",
        "given.export",
        asked=formats,
        chosen=f"{name}, as it was given",
        because=f"only the given file is judged, and it is {kind.title}",
        path=("export",),
    )
    return RuleAnswer((ExportRequest(kind.format, name),), (line,))


def chains(question: Question, *, given: GivenFile) -> RuleAnswer:
    """Settle one candidate, whose chain only loads the file; what the recipe says of methods is for the record.

    Raises InfeasibleError P144 where the engine that the recipe asks for does not run such a file here.
    """
    kind, engine = kind_of(given), _engine(question, given)
    load = LoadStep(given.operator, given.params, given.model, given.named)
    chain = Chain(GIVEN, GIVEN, None, engine, kind.format, 0, load=load)
    quantization = question.recipe.quantization
    asked = quantization.method if quantization.adapt is None else f"adapt: {', '.join(quantization.adapt)}"
    line = decision(
        question,
        "quantization.method",
        "method.given",
        asked=asked,
        chosen=GIVEN,
        because=f"{given.path.name} was optimized elsewhere: nothing is reduced, quantized, repaired or mixed here",
        path=("quantization", "method"),
    )
    return RuleAnswer((chain,), (line,))


def _engine(question: Question, given: GivenFile) -> str:
    """Return the engine that the recipe asks for, else the one that the file was judged in, else its kind's own."""
    running, asked = backend.engines_of(kind_of(given).name), question.recipe.target.engine
    engine = asked if asked != "auto" else given.engine or running[0]
    unmet = backend.get(engine).device_unmet(question.settled.device, question.hardware) if engine in running else None
    if engine not in running:
        lack, advice = f"it runs in {' or '.join(running)}", "take target.engine out, or name one of them"
    elif unmet is not None:
        lack, advice = unmet.cause, unmet.remedy
    elif not any(name in question.hardware.identity.packages for name in backend.get(engine).packages):
        lack, advice = f"{engine} is not installed", f"pip install {backend.get(engine).package}"
    else:
        return engine
    where = question.bound.parsed.source.place(("target", "engine"), "value") if asked != "auto" else None
    message = f"{given.path.name} cannot be judged in {engine}: {lack}"
    raise InfeasibleError(Diagnostic("P144", message, where, advice))


def reductions(question: Question) -> RuleAnswer:
    """Reduce nothing."""
    return RuleAnswer(())


def ladder(question: Question) -> RuleAnswer:
    """Ask for no rungs: one file is one."""
    return RuleAnswer(())


def chains_as_they_are(question: Question) -> RuleAnswer:
    """Add nothing to the chain, and set none of its options: it has none."""
    return RuleAnswer(question.settled.chains)


def budget(question: Question) -> RuleAnswer:
    """Search nothing, so that nothing is said of a budget."""
    return RuleAnswer(search_budget("auto"))


def nothing(question: Question) -> RuleAnswer:
    """Say nothing of layers: what the file holds is the engine's to tell."""
    return RuleAnswer(None)


def kind_of(given: GivenFile) -> ModelKind:
    """Return the kind of model that a given file is loaded as."""
    return backend.kinds()[catalog.get(given.operator).outputs["model"]]
