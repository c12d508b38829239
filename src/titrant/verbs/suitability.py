"""What this machine can do well: number formats, the largest model, levels and methods."""

from collections.abc import Iterator

from titrant.compiler.rules.levels import LEVELS
from titrant.compiler.rules.number_format import seven_bits
from titrant.runtime import catalog
from titrant.runtime.operators.model_cast import computes
from titrant.schema.facts import Hardware
from titrant.schema.units import format_size
from titrant.verbs.finding import Finding, Suits

BF16 = ("amx_bf16", "avx512_bf16", "bf16", "svebf16")
FP16 = ("avx512_fp16", "fp16")
# What a worker takes with torch loaded and nothing else, and how many copies of a model are in memory at once: the
# original, the one that is changed, and its export.
_WORKER_BYTES = 512 << 20
_COPIES = 3


def capabilities(hardware: Hardware) -> Iterator[Finding]:
    """Yield what the processor and the memory are good for."""
    identity = hardware.identity
    seven, because = seven_bits(identity)
    yield Finding("int8", "note" if seven else "ok", f"weights get {'7' if seven else '8'} bits: {because}")
    for name, kinds in (("bf16", BF16), ("fp16", FP16)):
        native = sorted(set(kinds) & set(identity.instructions))
        gpu = next((gpu.name for gpu in identity.gpus if computes(gpu, name)), "")
        if native:
            yield Finding(name, "ok", f"native on the processor ({', '.join(native)})")
        elif gpu:
            yield Finding(name, "ok", f"emulated on the processor, native on {gpu}")
        else:
            yield Finding(name, "note", "emulated and slower than fp32")
    available = hardware.volatile.memory_available_bytes
    if available is not None:
        largest = max(0, (available - _WORKER_BYTES) // _COPIES)
        text = f"models of up to about {format_size(largest)} of weights (a guess: {_COPIES} copies at once)"
        yield Finding("largest model", "ok", text)


def methods(hardware: Hardware) -> Iterator[Suits]:
    """Yield every quantization method, from gentle to aggressive, and whether it can work on this machine."""
    from titrant.compiler.rules.methods import methods as every_method

    for name in every_method():
        declaration = catalog.get(catalog.method_operator(name))
        assert declaration.method is not None
        unmet = declaration.requires(declaration.params(), hardware, None)
        bits = " or ".join(map(str, declaration.method.bits))
        engine = declaration.method.engine
        yield Suits(name, not unmet, "; ".join(unmet) or f"{bits} bits, runs in {engine}")


def levels(hardware: Hardware) -> Iterator[Suits]:
    """Yield every level and whether it gains anything on this machine; the first that suits best comes first.

    The contract of a level is a decision of its own; this says only which of its methods can work here.
    """
    widths = {suits.name: _bits(suits.name) for suits in methods(hardware) if suits.suits}
    found = [_level(name, defaults.fewest_bits, widths) for name, defaults in LEVELS.items()]
    order = ("balanced", "medical_critical", "aggressive", "minimal")
    yield from sorted(found, key=lambda one: (not one.suits, order.index(one.name)))


def _level(name: str, fewest: int, widths: dict[str, tuple[int, ...]]) -> Suits:
    """Say what a level, which allows `fewest` bits, can choose from."""
    allowed = sorted(method for method, bits in widths.items() if max(bits) >= fewest)
    if LEVELS[name].batch_invariance is not None:
        # Their scales depend on who shares the batch, which such a level does not take unproven.
        allowed = [method for method in allowed if not _dynamic(method)]
    contract = f"retention {LEVELS[name].retention:g}"
    if fewest > 16:
        return Suits(name, True, f"{contract}; conversions only, whatever the machine")
    if not allowed:
        return Suits(name, False, f"{contract}; none of its methods can work here: it would convert only")
    if fewest < 8 and not any(min(widths[method]) < 8 for method in allowed):
        text = f"{contract}; nothing below 8 bits can work here: the same candidates as balanced, a looser contract"
        return Suits(name, False, text)
    proof = ", and each gate must be proven" if LEVELS[name].require == "proof" else ""
    return Suits(name, True, f"{contract}{proof}; chooses from {', '.join(allowed)}")


def _dynamic(name: str) -> bool:
    method = catalog.get(catalog.method_operator(name)).method
    return method is not None and method.dynamic_activations


def _bits(name: str) -> tuple[int, ...]:
    method = catalog.get(catalog.method_operator(name)).method
    return () if method is None else method.bits
