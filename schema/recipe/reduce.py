"""The `reduction`, `quantization` and `search` sections: smaller networks, fewer bits, and how the best is chosen."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from titrant.schema.recipe.model import Model
from titrant.schema.recipe.terms import (
    Added,
    Auto,
    Count,
    CountedIn,
    Fraction,
    Off,
    Pattern,
    Positive,
    Ref,
    Section,
    Text,
    Whole,
    installed,
)

PruningName = Annotated[
    Literal["auto", "blocks", "structured", "magnitude", "n_m", "activation"],
    installed("operators", "prune"),
    Added("operators", ("prune",)),
]
FactorizeName = Annotated[Literal["svd"], installed("operators", "factorize"), Added("operators", ("factorize",))]


class Pruning(Section):
    """Remove weights or channels."""

    method: PruningName = Field("auto", description="what is removed")
    sparsity: Auto | Annotated[float, Field(ge=0, lt=1)] = Field("auto", description="fraction of the weights removed")
    blocks: Count | None = Field(
        None, exclude_if=lambda value: value is None, description="whole blocks removed, in place of `sparsity`"
    )
    scope: Literal["layer", "global"] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="magnitude: the share of each layer, or of all weights",
    )
    score: Literal["wanda", "apoz"] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="activation: of weights by their inputs, or of filters",
    )
    n: Count | None = Field(
        None, exclude_if=lambda value: value is None, description="n_m: weights of every `m` that stay; 2"
    )
    m: Count | None = Field(
        None, exclude_if=lambda value: value is None, description="n_m: weights of a group, along the inputs; 4"
    )
    round_to: Count | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="structured: channels or neurons that go together; as kernels compute them",
    )
    importance: Literal["magnitude", "taylor"] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="structured: what stays; the largest weights, or what the loss depends on",
    )
    distribution: Literal["uniform", "heterogeneous"] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="structured: the same share of every layer, or more where it harms less; by `sparsity`",
    )
    schedule: Literal["one_shot", "gradual"] = Field(
        "one_shot", description="at once, or ever more weights set to zero while `train` fits the others"
    )
    skip: tuple[Pattern, ...] = Field((), description="module name patterns left dense")
    validate_with: Ref | None = Field(
        None,
        alias="validate",
        description="`module:Name` of f(module, rows) → True, False, a number, or a reason: your own check",
    )


class Distillation(Section):
    """Train a student to answer as the teacher does."""

    teacher: Literal["original", "fine_tuned"] | Model = Field(
        "original", description="the model that is imitated; fine_tuned: the original after the same training"
    )
    student: Model | None = Field(None, description="the model that is trained; default: the reduced original")
    temperature: Positive = Field(2.0, description="softening of the teacher's answers")
    weight: Fraction = Field(0.5, description="share of the teacher in the loss; the rest is the labels'")
    layers: tuple[Pattern, ...] = Field((), description="module name patterns whose outputs are imitated too")


class Factorize(Section):
    """Replace weight matrices by two thinner ones."""

    method: FactorizeName = Field("svd", description="how the factors are found")
    energy: Fraction | None = Field(None, description="share of the squared singular values that is kept")
    rank: Count | None = Field(None, description="rank that is kept")
    skip: tuple[Pattern, ...] = Field((), description="module name patterns left as they are")


class Reduction(Section):
    """What makes the network itself smaller."""

    pruning: Annotated[Pruning | None, Off] = Field(None, description="remove weights or channels")
    distillation: Annotated[Distillation | None, Off] = Field(None, description="imitate a teacher")
    factorize: Annotated[Factorize | None, Off] = Field(None, description="low-rank factors in place of matrices")


MethodName = Literal[
    "auto",
    "none",
    "torch.dynamic",
    "ort.dynamic",
    "ort.static",
    "ort.nbits",
    "openvino.ptq",
    "openvino.weights",
    "openvino.bf16",
    "torchao.int8_weight_only",
    "torchao.int8_dynamic",
    "torchao.pt2e",
    "torchao.int4",
    "torchao.fp8",
    "bnb.int8",
    "bnb.nf4",
    "bnb.fp4",
    "gptq",
    "awq",
    "tensorrt.int8",
    "tensorrt.fp8",
    "mlx.affine",
    "smoothquant",
    "cast",
]


RepairName = Literal["equalize", "clip", "bias_correction", "smooth", "adaround"]


class Quantization(Section):
    """How numbers become smaller; `auto` measures every method that can run here."""

    method: Annotated[
        MethodName | Ref,
        installed("operators", "quantize", "model"),
        Added("operators", ("quantize", "model")),
    ] = Field(
        "auto", description="auto, none (still exports, judges and releases), or one operator: then the only candidate"
    )
    bits: Auto | Annotated[Literal[4, 8, 16], Whole] = Field("auto", description="bits a weight")
    skip: tuple[Pattern, ...] = Field((), description="module name patterns that keep their precision")
    only: tuple[Pattern, ...] = Field((), description="module name patterns that alone are quantized")
    options: Mapping[str, Any] = Field(default_factory=dict, description="parameters of the chosen operator")
    repair: Auto | Annotated[Annotated[tuple[RepairName, ...], Field(min_length=1)] | None, Off] = Field(
        "auto",
        exclude_if=lambda value: value == "auto",
        description="what is tried on a method that loses too much, before layers are left in higher precision: auto, "
        "none, or a list",
    )
    adapt: Annotated[tuple[Text, ...] | None, Off] = Field(
        None,
        min_length=1,
        description="rungs to release together, each by its own judgement: `none`, a method, or one of its forms",
    )


Objective = Literal["latency", "size", "peak_memory", "throughput", "quality"]


class Budget(Section):
    """When the search ends."""

    evaluations: Count | None = Field(
        None, description="candidates that methods make, at most; plain conversions are made besides"
    )
    minutes: Annotated[Positive, CountedIn("minutes", 60)] | None = Field(
        None, description="minutes of the run after which no further candidate is begun"
    )


class Range(Section):
    """A stretch of numbers to search."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(False, description="search on a logarithmic scale")


class Search(Section):
    """What makes one candidate better than another."""

    objective: tuple[Objective | Ref, ...] = Field(
        ("latency", "size"),
        min_length=1,
        description="what counts, first things first; `module:name` is a metric of your own, on tuning rows",
    )
    budget: Auto | Budget = Field("auto", description="when the search ends")
    mix_layers: bool = Field(
        True, description="leave sensitive regions in higher precision where a method loses too much"
    )
    check_sensitivity: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="measure what each region's precision does to the answers on all tuning rows too, and compare",
    )
    space: Annotated[Mapping[str, tuple[Any, ...] | Range] | None, Off] = Field(
        None, min_length=1, description="recipe path → values or range to try"
    )
    sampler: Literal["tpe", "nsga2", "random"] = Field("tpe", description="how `space` is searched")


def objectives(search: Search) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what a search is after, in order, with its place in the recipe."""
    for place, name in enumerate(search.objective):
        yield ("search", "objective", place), name
