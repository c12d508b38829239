"""In which number format each layer runs: which keep theirs, and which int8 format is exact and fast here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from titrant.compiler.bind.check_model import leaving_methods, matches
from titrant.compiler.bind.layers import OWN, RECURRENT, UNSAID, left_alone, left_because
from titrant.compiler.decide.reductions import reduced_facts
from titrant.compiler.decide.rule import Chain, Question, RuleAnswer, decision
from titrant.runtime import catalog
from titrant.runtime.catalog import LEAVE, Declaration
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware, HardwareIdentity, Layer, ModelFacts
from titrant.schema.plan import GIVEN, Decision, Rejected
from titrant.schema.recipe.reduce import Quantization
from titrant.schema.record import ENGINES_CHOICE
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.layout import CONVOLUTIONS
from titrant.schema.values.units import counted

# The types of layers that multiply by weights or look rows up in them, as torch modules and ONNX nodes are called:
# these have a precision of their own. Norms and what adds numbers follow what is around them.
MULTIPLY = (
    "Bilinear", "Conv", "Conv1d", "Conv2d", "Conv3d", "ConvInteger", "ConvTranspose", "ConvTranspose1d",
    "ConvTranspose2d", "ConvTranspose3d", "Embedding", "EmbeddingBag", "Gather", "Gemm", "Linear", "MatMul",
    "MatMulInteger", "MatMulNBits", "MultiheadAttention", "NonDynamicallyQuantizableLinear", "QLinearConv",
    "QLinearMatMul", *RECURRENT,
)  # fmt: skip

_NAMED = 4
_FORMATS = {"float64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}

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


def with_left_alone(declaration: Declaration, options: Mapping[str, Any], question: Question) -> dict[str, Any]:
    """Add the layers that the recipe keeps as they are to a method's options, where it can leave any."""
    quantization = question.recipe.quantization
    if LEAVE not in declaration.params.model_fields or not (quantization.skip or quantization.only):
        return dict(options)
    params = declaration.params.model_validate(dict(options))
    names = left_alone(declaration, params, question.hardware, reduced_facts(question), quantization)
    return {**options, LEAVE: names} if names else dict(options)


def cannot_leave(declaration: Declaration, question: Question) -> Iterator[Unmet]:
    """Say that a method quantizes all that it can, where the recipe keeps layers from being quantized."""
    quantization = question.recipe.quantization
    if (quantization.skip or quantization.only) and LEAVE not in declaration.params.model_fields:
        key = "skip" if quantization.skip else "only"
        cause = f"it has no way to leave layers as they are, and quantization.{key} asks for that"
        others = " or ".join(leaving_methods())
        yield Unmet(cause, f"take {key} out, or choose {others}" if others else f"take {key} out")


def layers(question: Question) -> RuleAnswer:
    """Say which layers `skip` and `only` keep as they are, and which recurrent ones no candidate quantizes."""
    model = reduced_facts(question)
    lines = [
        decision(
            question,
            f"quantization.{key}",
            f"layers.{key}",
            asked=", ".join(patterns),
            chosen=_kept_words(
                key, [layer.name for layer in model.layers if layer.has_weights and _any(layer, patterns)]
            ),
            because="the recipe says so",
            path=("quantization", key),
        )
        for key in ("skip", "only")
        if (patterns := getattr(question.recipe.quantization, key))
    ]
    return RuleAnswer(None, (*lines, *_recurrent(question, model)))


def _any(layer: Layer, patterns: Sequence[str]) -> bool:
    return any(matches(layer.name, pattern) for pattern in patterns)


def _kept_words(key: str, names: Sequence[str]) -> str:
    some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    single = len(names) == 1
    kept, taken = ("keeps its" if single else "keep their"), ("is" if single else "are")
    what = f"{kept} precision" if key == "skip" else f"alone {taken} quantized"
    return f"{counted(len(names), 'layer')} {what}: {some}"


def _recurrent(question: Question, model: ModelFacts) -> Iterator[Decision]:
    """Say that the weights of recurrent layers stay as they are in every candidate that quantizes."""
    names = [layer.name for layer in model.layers if layer.type in RECURRENT and layer.weight_bytes]
    chains = [chain for chain in question.settled.chains if chain.method != "none"]
    if not names or not chains:
        return
    planned = [
        dict(zip(made.layers, made.planned, strict=True))
        for chain in chains
        for made in [planned_layers(chain, question.hardware, model, question.recipe.quantization)]
    ]
    left = [name for name in names if all(each.get(name) in _FORMATS.values() for each in planned)]
    if left:
        yield decision(
            question,
            "quantization",
            "layers.recurrent",
            asked="",
            chosen=f"recurrent layers stay as they are: {', '.join(left[:_NAMED])}",
            because=f"no kernel of {', '.join(chain.id for chain in chains)} quantizes them",
        )


@dataclass(frozen=True)
class PlannedLayers:
    """The layers of a model with a precision of their own, in order, and the one in which each shall run.

    `planned` is a number format, or ENGINES_CHOICE where nothing is asked of the engine. What is `custom`, made of
    weights of the user's own module, may be no layer at all in a file. `laid_out` shall lie channels last in memory.
    """

    layers: tuple[str, ...]
    planned: tuple[str, ...]
    custom: tuple[str, ...]
    laid_out: tuple[str, ...] = ()


def planned_layers(chain: Chain, hardware: Hardware, model: ModelFacts, quantization: Quantization) -> PlannedLayers:
    """Say in which precision each layer of a candidate shall run; `model` is what its method is given."""
    precisions = dict(_planned(chain, hardware, model, quantization))
    custom = tuple(layer.name for layer in model.layers if layer.name in precisions and _is_custom(layer))
    laid_out = tuple(layer.name for layer in model.layers if chain.layout and layer.type in CONVOLUTIONS)
    return PlannedLayers(tuple(precisions), tuple(precisions.values()), custom, laid_out)


def _planned(
    chain: Chain, hardware: Hardware, model: ModelFacts, quantization: Quantization
) -> Iterator[tuple[str, str]]:
    counted = [_is_custom(layer) or _multiplies(layer) for layer in model.layers]
    if chain.method == "none":
        as_given = any(layer.dtype in ("int8", "uint8", "int4", "uint4") for layer in model.layers)
        for layer, counts in zip(model.layers, counted, strict=True):
            if counts:
                # Weights of 16 bits say how they are kept: an engine without kernels for them multiplies in fp32.
                kept = as_given or layer.dtype in ("float16", "bfloat16")
                yield layer.name, ENGINES_CHOICE if kept else _given(layer)
        return
    if chain.method == GIVEN:
        yield from ((layer.name, ENGINES_CHOICE) for layer, counts in zip(model.layers, counted, strict=True) if counts)
        return
    declaration = catalog.get(catalog.method_operator(chain.method))
    method = declaration.method
    assert method is not None  # a chain is made of methods only
    params = declaration.params.model_validate(dict(chain.options))
    because = left_because(declaration, params, hardware, model, quantization)
    asked = method.precision(params) if method.precision is not None else f"int{chain.bits}"
    for layer, counts, reason in zip(model.layers, counted, because, strict=True):
        if not counts:
            continue
        if reason in (OWN, UNSAID) or (method.chooses is not None and method.chooses(layer)):
            yield layer.name, ENGINES_CHOICE
        else:
            yield layer.name, _given(layer) if reason else asked


def _is_custom(layer: Layer) -> bool:
    return layer.custom and layer.weight_bytes > 0 and not layer.unread


def _multiplies(layer: Layer) -> bool:
    held = bool(layer.weight_bytes or layer.weight_shape) and not layer.unread
    wide = len(layer.weight_shape) > 1 or layer.type in RECURRENT
    return held and wide and layer.type in MULTIPLY


def _given(layer: Layer) -> str:
    return _FORMATS.get(layer.dtype, ENGINES_CHOICE)
