"""The `export` list: which files are released."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.terms import MOST_COUNT, Form, Section

ExportFormat = Literal["auto", "onnx", "torchscript", "exported", "safetensors", "openvino", "mlx"]
# A file's stem: no folder can be named, so nothing is ever written outside `outputs/`.
FileName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
    Form("a name (letters, digits, `-`, `_`, `.`; the first a letter or digit; at most 100)"),
]


class Export(Section):
    """One file to release; each format is its own judged candidate."""

    format: ExportFormat = Field("auto", description="format of the file; auto: the winner's own")
    opset: Annotated[int, Field(ge=14, le=MOST_COUNT)] | None = Field(
        None, description="ONNX opset, 14 or more; default: the lowest"
    )
    name: FileName | None = Field(
        None, description="file name without ending: letters, digits, `-`, `_`, `.`; default: `model`"
    )
    external_data: bool = Field(False, description="weights in a file of their own beside the .onnx")
