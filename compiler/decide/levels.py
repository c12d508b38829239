"""What each level supplies, which level `auto` is, and the widths that level and recipe allow."""

from collections.abc import Iterator, Mapping

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.compiler.decide.target import int8_methods, original_kind
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.method import Method
from titrant.schema.cost import NOTHING_KNOWN, Unmet
from titrant.schema.plan import Decision, Rejected
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.units import format_size

# Below this a model fits everywhere as it is: nothing is quantized unless the recipe asks.
SMALL_BYTES = 100 * 10**6
# Above this `level: auto` considers everything that saves memory.
LARGE_BYTES = 10**9

# What `bits: auto` stands for, the width that it prefers first; how few bits there may be is the level's to say.
AUTO_BITS = (8, 16, 4)
# On an accelerator without int8 kernels.
ACCELERATOR_BITS = (16, 4)
# Instruction sets that compute in 16 bits: elsewhere such numbers are widened first, and nothing but the size is won.
HALF = ("avx512_bf16", "amx_bf16", "avx512_fp16", "bf16", "fp16")
_HALF_BITS = 16


@dataclass(frozen=True)
class LevelDefaults:
    """What a level asks of the contract, and the fewest bits that `method: auto` may use under it."""

    retention: float
    require: str
    fewest_bits: int
    kept: float | None = None
    sensitivity: float | None = None
    bias: float | None = None
    calibration: float | None = None
    clinical_relevance: float | None = None
    batch_invariance: float | None = None
    evidence: bool = False


LEVELS: Mapping[str, LevelDefaults] = {
    "minimal": LevelDefaults(retention=0.999, require="evidence", fewest_bits=32),
    "balanced": LevelDefaults(retention=0.95, require="evidence", fewest_bits=8),
    "aggressive": LevelDefaults(retention=0.90, require="evidence", fewest_bits=4),
    "medical_critical": LevelDefaults(
        retention=0.98,
        require="proof",
        fewest_bits=8,
        kept=0.99,
        sensitivity=0.99,
        bias=0.85,
        calibration=0.02,
        clinical_relevance=0.90,
        batch_invariance=0.98,
        evidence=True,
    ),
}


def level(question: Question) -> RuleAnswer:
    """Resolve the level: as written, or for `auto` by what the contract asks; size never loosens a threshold."""
    asked = question.recipe.level
    if asked != "auto":
        line = decision(
            question,
            "level",
            "level.written",
            asked=asked,
            chosen=asked,
            because=f"the recipe names it; {widths(asked)}",
            path=("level",),
        )
        return RuleAnswer(asked, (line,))
    gate = _medical_gate(question)
    chosen = "medical_critical" if gate else "balanced"
    if gate:
        because = f"the contract asks for {gate}"
        rejected = (Rejected("balanced", f"{gate} calls for the safeguards of medical_critical"),)
    else:
        because = "no safety or clinical gate, and auto never goes below a retention of 0.95"
        rejected = (Rejected("aggressive", "its retention of 0.9 is below 0.95"),)
    because += f"; {widths(chosen)}"
    line = decision(
        question, "level", "level.auto", asked=asked, chosen=chosen, because=because, path=("level",), rejected=rejected
    )
    return RuleAnswer(chosen, (line,))


def widths(name: str) -> str:
    """Say down to which width `method: auto` may quantize under a level, and under the others."""
    others = ", ".join(f"{level} {other.fewest_bits}" for level, other in LEVELS.items() if level != name)
    return f"down to {LEVELS[name].fewest_bits} bits ({others})"


def _medical_gate(question: Question) -> str:
    validation = question.recipe.validation
    for name in ("safety", "clinical_relevance"):
        if getattr(validation, name) not in (None, "none"):
            return f"validation.{name}"
    return ""


def fewest_bits(question: Question) -> tuple[int, str]:
    """Return the fewest bits that `method: auto` may use, and the reason why not fewer.

    `preserve: medical` keeps 4 bits away on any level; `level: auto` does not quantize a small model unless the recipe
    or its target asks for it, and goes down to 4 bits for a large one. Bits that the recipe asks for come first: what
    the medical safeguards refuse is refused elsewhere. Thresholds do not depend on the size.
    """
    if question.recipe.quantization.bits != "auto":
        return question.recipe.quantization.bits, "the recipe asks for these bits"
    name = question.settled.level
    bits, reason = LEVELS[name].fewest_bits, f"level {name}"
    if is_large(question) and name != "medical_critical":
        bits, reason = 4, "the model is large"
    if question.recipe.preserve == "medical" and bits < 8:
        bits, reason = 8, "preserve: medical"
    small = question.model.weight_bytes < SMALL_BYTES
    asked = asks_to_quantize(question) or asked_by_target(question)
    if question.recipe.level == "auto" and small and not asked and bits < 32:
        size = format_size(question.model.weight_bytes)
        bits, reason = 32, f"the model is small ({size}, under 100 MB) and the recipe does not ask for quantization"
    return bits, reason


def is_large(question: Question) -> bool:
    """Whether `level: auto` meets a model over 1 GB."""
    return question.recipe.level == "auto" and question.model.weight_bytes > LARGE_BYTES


def is_medical(question: Question) -> bool:
    """Whether the safeguards of medical_critical hold: by the level, or by `preserve: medical` on any level."""
    return question.settled.level == "medical_critical" or question.recipe.preserve == "medical"


def safeguard(question: Question) -> str:
    """Name what asks for the medical safeguards, where they hold."""
    return "preserve medical" if question.recipe.preserve == "medical" else "level medical_critical"


def size(question: Question) -> RuleAnswer:
    """Say what the size of the model means to `level: auto`: which methods are considered, never a threshold."""
    if not is_large(question):
        return RuleAnswer(None)
    bits, _ = fewest_bits(question)
    rejected = list(_memory_options(question))
    if question.recipe.reduction is None:
        because = "the recipe has no reduction section, and a network is never reduced unasked"
        rejected.append(Rejected("reduction.pruning", because, "write reduction: {pruning: {method: auto}}"))
    line = decision(
        question,
        "size",
        "size.large",
        asked="level auto",
        chosen=f"every method down to {bits} bits is considered; no threshold moves",
        because=f"the model is large ({format_size(question.model.weight_bytes)}, over 1 GB)",
        rejected=tuple(rejected),
    )
    return RuleAnswer(None, (line,))


def _memory_options(question: Question) -> Iterator[Rejected]:
    """Say of every option of `memory` that the recipe leaves alone why it is not taken unasked."""
    memory, trains = question.recipe.memory, question.recipe.train is not None
    nothing = "it is about activations of a training, and nothing is trained; weights stay in memory"
    if memory.gradient_checkpointing is None:
        because = "a step would compute activations twice" if trains else nothing
        advice = "write memory: {gradient_checkpointing: auto} to have it where a step does not fit"
        yield Rejected("memory.gradient_checkpointing", because, advice if trains else "")
    if memory.offload == "none":
        because = "a step would wait for the disk, which takes activations; weights stay in memory"
        advice = "write memory: {offload: auto} to have it where a step does not fit"
        yield Rejected("memory.offload", because if trains else nothing, advice if trains else "")
    if memory.layout == "auto":
        yield Rejected("memory.layout", "it says how weights lie in memory, and saves none")
    yield Rejected("memory.guard", "this version frees nothing while it runs")


def asks_to_quantize(question: Question) -> bool:
    """Whether the recipe's text asks for quantization, be it `method: auto`, or for a training for it."""
    bound, train = question.bound, question.recipe.train
    if train is not None and train.quantization_aware:
        return True
    return any(bound.written("quantization", key) for key in ("method", "bits", "options"))


def asked_by_target(question: Question) -> str:
    """Say which limit of `target` the model may miss in 32 bits, as a reason; "" where it certainly keeps all.

    The size of a file follows from the facts, within a few percent. Times and memory are known once they are measured,
    and what is expected of a machine decides nothing.
    """
    target = question.recipe.target
    if target.size is not None and (expected := _unquantized_bytes(question)) * _SIZE_MARGIN > target.size:
        return f"in 32 bits the file takes about {format_size(expected)}, and target.size is {format_size(target.size)}"
    for name in ("latency", "throughput", "peak_memory"):
        if getattr(target, name) is not None:
            return f"whether 32 bits keep target.{name} is known once it is measured"
    return ""


# Predicted sizes of files lie within this factor of what is written.
_SIZE_MARGIN = 1.05


def _unquantized_bytes(question: Question) -> int:
    """Predict the smallest file that is asked for and holds the original as it is."""
    formats = {request.format for request in question.settled.exports} - {"auto"}
    original = original_kind(question.model)
    sizes = []
    for form in formats or backend.formats():
        conversion = backend.conversion(original.name, backend.kind_of_format(form).name)
        if conversion:
            declaration = catalog.get(conversion[-1][0])
            made = declaration.predict(declaration.params(), question.hardware, question.model, NOTHING_KNOWN)
            sizes.append(made.output_bytes or 0)
    return min(filter(None, sizes), default=question.model.weight_bytes)


def bits_line(question: Question) -> Iterator[Decision]:
    """Say what bits that the recipe asks for mean to the candidates, and that they overrule the level's."""
    asked = question.recipe.quantization.bits
    if asked == "auto":
        return
    fewest = LEVELS[question.settled.level].fewest_bits
    overruled = f"; it comes before level {question.settled.level}, whose fewest are {fewest}" * (asked < fewest)
    yield decision(
        question,
        "quantization.bits",
        "bits.written",
        asked=str(asked),
        chosen=f"only methods that give {asked} bits",
        because=f"the recipe says so{overruled}",
        path=("quantization", "bits"),
    )


def other_bits(question: Question, method: Method, offered: tuple[int, ...]) -> Iterator[Unmet]:
    """Say why a method's widths are not those asked for; one that the recipe names may have any under `auto`."""
    asked = question.recipe.quantization.bits
    if asked == "auto" and question.recipe.quantization.method == method.name:
        return
    if asked == "auto" and offered == (_HALF_BITS,) and not _half_pays(question):
        cause = "this processor computes in none of the 16-bit formats, so that nothing but the size is won"
        yield Unmet(cause, "write search.objective: [size] or a target.size to consider it")
        return
    widths = _auto_bits(question) if asked == "auto" else (asked,)
    if set(widths).isdisjoint(offered):
        said, due = " or ".join(map(str, offered)), " or ".join(map(str, widths))
        yield Unmet(f"it gives {said} bits, and bits: {asked} asks for {due}", unasked=True)


def _half_pays(question: Question) -> bool:
    """Whether 16 bits win anything: computed in, or where the size of the file is what counts first."""
    recipe, instructions = question.recipe, question.hardware.identity.instructions
    native = question.settled.device != "cpu" or any(name in instructions for name in HALF)
    return native or recipe.search.objective[0] == "size" or recipe.target.size is not None


def bits_of(question: Question, method: Method) -> int:
    """Return the width of a method's candidate: as written, or the one that `auto` prefers of those it gives."""
    asked = question.recipe.quantization.bits
    if asked != "auto":
        return asked
    return next((width for width in _auto_bits(question) if width in method.bits), method.bits[0])


def _auto_bits(question: Question) -> tuple[int, ...]:
    """Return the widths that `auto` takes, the one that it prefers first."""
    device = question.settled.device
    return AUTO_BITS if device == "cpu" or int8_methods(device) else ACCELERATOR_BITS
