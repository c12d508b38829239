"""Which int8 number format is exact and fast on this instruction set."""

from dataclasses import replace
from typing import Any

from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, decision
from titrant.runtime import catalog
from titrant.schema.facts import HardwareIdentity
from titrant.schema.plan import Decision, Rejected

VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
X86 = ("x86_64", "i686")


def number_format(question: Question) -> RuleAnswer:
    """Fill in the weight range of every int8 chain that has one to set and whose options the recipe leaves open."""
    chains = question.settled.chains
    reduce, because = reduce_range(question)
    filled = tuple(
        replace(chain, options={**chain.options, "reduce_range": reduce}) if _open(chain) else chain for chain in chains
    )
    affected = tuple(chain.id for chain in chains if _open(chain))
    return RuleAnswer(filled, (_line(question, affected, reduce, because),) if affected else ())


def _open(chain: Chain) -> bool:
    return "reduce_range" not in chain.options and "reduce_range" in _fields(chain)


def _fields(chain: Chain) -> dict[str, Any]:
    if chain.method == "none":
        return {}
    return dict(catalog.get(catalog.method_operator(chain.method)).params.model_fields)


def reduce_range(question: Question) -> tuple[bool, str]:
    """Return whether weights get 7 bits on the machine that is planned for, and why."""
    return seven_bits(question.hardware.identity)


def seven_bits(identity: HardwareIdentity) -> tuple[bool, str]:
    """Return whether int8 weights get 7 bits on a machine, and why.

    Without VNNI, x86 multiplies uint8 by int8 with vpmaddubsw, which adds two products in 16 bits and saturates: 8-bit
    weights then lose accuracy (measured).
    """
    vnni = [name for name in VNNI if name in identity.instructions]
    if vnni:
        return False, f"{vnni[0]} adds int8 products in 32 bits"
    if identity.machine not in X86 and identity.instructions:
        return False, f"{identity.machine} adds int8 products without saturating"
    if not identity.instructions:
        return True, "the instruction sets of this machine are unknown, and 7 bits are true on all of them"
    best = "avx512bw" if "avx512bw" in identity.instructions else "avx2" if "avx2" in identity.instructions else "x86"
    return True, f"{best} without VNNI adds pairs of int8 products in 16 bits, and 8-bit weights would saturate them"


def _line(question: Question, affected: tuple[str, ...], reduce: bool, because: str) -> Decision:
    seven, eight = "int8 weights in 7 bits (reduce_range: true)", "int8 weights in 8 bits (reduce_range: false)"
    other = Rejected(eight, "it saturates here") if reduce else Rejected(seven, "it gives away a bit for nothing here")
    return decision(
        question,
        "quantization.options.reduce_range",
        "number_format.instructions",
        asked="not written",
        chosen=f"{seven if reduce else eight} for {', '.join(affected)}",
        because=because,
        path=("quantization", "options", "reduce_range"),
        rejected=(other,),
    )
