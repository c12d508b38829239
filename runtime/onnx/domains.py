"""The domains that ONNX operators come from, and the version of the standard operator set."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# The standard operators' domain has two spellings.
STANDARD = ("", "ai.onnx")
# The domain of onnxruntime's own operators.
MICROSOFT = "com.microsoft"


def opset(model: "onnx.ModelProto") -> int:
    """Return the version of the standard operator set that a graph uses; 1 where it names none, as ONNX has it."""
    return next((item.version for item in model.opset_import if item.domain in STANDARD), 1)
