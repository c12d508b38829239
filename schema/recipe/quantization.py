"""The `quantization` section: fewer bits for weights and activations."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from titrant.schema.recipe.terms import Auto, Off, Pattern, Ref, Section, Text, Whole

MethodName = Literal[
    "auto",
    "none",
    "torch.dynamic",
    "ort.dynamic",
    "ort.static",
    "ort.nbits",
    "openvino.ptq",
    "openvino.weights",
    "torchao.int8_weight_only",
    "torchao.int8_dynamic",
    "torchao.pt2e",
    "torchao.int4",
    "torchao.fp8",
    "bnb.int8",
    "bnb.nf4",
    "bnb.fp4",
    "gptq",
    "smoothquant",
    "cast",
]


class Quantization(Section):
    """How numbers become smaller; `auto` measures every method that can run here."""

    method: MethodName | Ref = Field(
        "auto", description="auto, none (still exports, judges and releases), or one operator: then the only candidate"
    )
    bits: Auto | Annotated[Literal[4, 8, 16], Whole] = Field("auto", description="bits a weight")
    skip: tuple[Pattern, ...] = Field((), description="module name patterns that keep their precision")
    only: tuple[Pattern, ...] = Field((), description="module name patterns that alone are quantized")
    options: Mapping[str, Any] = Field(default_factory=dict, description="parameters of the chosen operator")
    adapt: Annotated[tuple[Text, ...] | None, Off] = Field(
        None, min_length=1, description="methods to export together, from which serving chooses by load"
    )
