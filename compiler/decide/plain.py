"""Which plain conversions are timed beside the candidates, where none of the candidates is one."""

from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, decision
from titrant.compiler.decide.target import engine_of, original_kind
from titrant.runtime.backends import backend


def plain(question: Question) -> RuleAnswer:
    """Settle a plain conversion for each engine and format that a candidate has and no plain candidate does.

    It is made and timed, so that a candidate is not called faster for what its engine alone brings; it is no candidate,
    since the recipe asks for something else. A model that the original's own engine runs as it is needs none.
    """
    chains = question.settled.chains
    missing = {
        (chain.engine, chain.format)
        for chain in chains
        if not is_plain(chain) and not any(is_plain(other) and same_place(other, chain) for other in chains)
    }
    settled = tuple(_conversion(*place) for place in sorted(missing) if _convertible(question, *place))
    lines = tuple(
        decision(
            question,
            "profile.plain",
            "profile.plain",
            asked="not written",
            chosen=chain.id,
            because=f"{', '.join(_beside(chain, chains))}: compared with the plain conversion too, which is timed "
            "beside it and never released",
        )
        for chain in settled
    )
    return RuleAnswer(settled, lines)


def is_plain(chain: Chain) -> bool:
    """Whether a chain is the original as it is: neither quantized nor reduced."""
    return chain.method == "none" and not chain.before


def same_place(chain: Chain, other: Chain) -> bool:
    """Whether two chains end in the same format for the same engine."""
    return (chain.engine, chain.format) == (other.engine, other.format)


def _conversion(engine: str, form: str) -> Chain:
    """Return the conversion that `auto` would offer there, by the same name."""
    name = f"{form}-fp32"
    own = engine_of(backend.kind_of_format(form)) == engine
    return Chain(name if own else f"{name}-{engine}", "none", None, engine, form, 0)


def _convertible(question: Question, engine: str, form: str) -> bool:
    """Whether there is a file to make: the original as it is may be the plain one, or may not convert."""
    given, kind = original_kind(question.model), backend.kind_of_format(form)
    runs_it_already = given == kind and engine == question.settled.original_engine
    return not runs_it_already and backend.conversion(given.name, kind.name) is not None


def _beside(conversion: Chain, chains: tuple[Chain, ...]) -> list[str]:
    return [chain.id for chain in chains if not is_plain(chain) and same_place(chain, conversion)]
