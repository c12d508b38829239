"""Which kind of artifact a format is, which engine runs it, and which operator turns one kind into another."""

from collections.abc import Mapping

# A format that `export` can name → the artifact kind that holds it.
KIND_OF: Mapping[str, str] = {"onnx": "onnx", "torchscript": "torchscript"}

# A kind → the engines that load it.
ENGINES_OF: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "torchscript": ("torch",),
    "onnx": ("onnxruntime",),
}

# (from kind, to kind) → the operator that converts.
CONVERSIONS: Mapping[tuple[str, str], str] = {
    ("torch", "onnx"): "export.onnx",
    ("torch", "torchscript"): "export.torchscript",
}
