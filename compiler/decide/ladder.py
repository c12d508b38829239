"""Which candidates compete for each rung of a ladder: variants to release together, for serving to step between."""

from collections.abc import Iterable
from dataclasses import replace

from titrant.compiler.decide import methods
from titrant.compiler.decide.methods import Offer
from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, Rung, decision
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError
from titrant.schema.plan import by_reason

_KEY = ("quantization", "adapt")


def chains(question: Question) -> RuleAnswer:
    """Settle the candidates: those of every rung where a ladder is asked for, else what `method` says."""
    rungs = question.recipe.quantization.adapt
    if rungs is None:
        return methods.chains(question)
    offers = methods.all_offers(question)
    taken = {offer.chain.id for place in range(len(rungs)) for offer in _of_rung(question, place, offers)}
    kept = tuple(replace(offer, soft=()) for offer in offers if offer.chain.id in taken)
    because = "the rungs of quantization.adapt; each is made, measured and judged for itself"
    return methods.settled(question, kept, "method.adapt", because)


def ladder(question: Question) -> RuleAnswer:
    """Settle which candidates compete for each rung; nothing is said where no ladder is asked for."""
    rungs = question.recipe.quantization.adapt
    if rungs is None:
        return RuleAnswer(())
    settled = tuple(Rung(name, _named(name, question.settled.chains)) for name in rungs)
    line = decision(
        question,
        ".".join(_KEY),
        "adapt.written",
        asked=", ".join(rungs),
        chosen="; ".join(f"{rung.name}: {', '.join(rung.chains)}" for rung in settled),
        because="each rung is a file of its own, released where it keeps the contract itself",
        path=_KEY,
    )
    return RuleAnswer(settled, (line,))


def _named(name: str, candidates: Iterable[Chain]) -> tuple[str, ...]:
    """List the candidates that a rung means, with what mends them: those of a method, or the one of that name."""
    listed = tuple(candidates)
    of_method = tuple(chain.id for chain in listed if chain.method == name)
    of_name = {chain.id for chain in listed if _own(chain) == name}
    return of_method or tuple(chain.id for chain in listed if of_name & {chain.id, chain.mends})


def _own(chain: Chain) -> str:
    """Return a chain's id without the reductions that every candidate begins with, and without its layout."""
    return chain.id.rpartition("+")[2].removesuffix(f".{chain.layout}")


def _of_rung(question: Question, place: int, offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
    """Choose what competes for a rung: all that `auto` would take of it, else all that can be made at all.

    A rung that names one candidate has that one. Raises InfeasibleError where none of them can be made here.
    """
    adapt = question.recipe.quantization.adapt or ()
    name = adapt[place]
    meant = set(_named(name, (offer.chain for offer in offers)))
    matching = tuple(offer for offer in offers if offer.chain.id in meant)
    possible = tuple(offer for offer in matching if not offer.hard)
    taken_by_auto = tuple(offer for offer in possible if not offer.soft)
    if taken_by_auto or possible:
        return taken_by_auto or possible
    reasons = by_reason(offer.rejected for offer in matching)
    forms = ", ".join(offer.chain.id for offer in offers if name.startswith(offer.chain.method) and not offer.hard)
    help_text = "; ".join(reasons) or (f"what can be made of that method: {forms}" if forms else "take the rung out")
    where = question.bound.parsed.source.place((*_KEY, place), "value")
    raise InfeasibleError(Diagnostic("P140", f"the rung {name} cannot be made here", where, help_text))
