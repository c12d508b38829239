"""What a torch module is, for a drawing: its kind, kernel and widths, precision, and whether it is a layer of its own."""

from typing import TYPE_CHECKING, Any

from titrant.runtime.instruments.architecture.names import convolution

if TYPE_CHECKING:
    import torch

# torch's own modules that hold others and are no layer: their parts are drawn.
_HOLDERS = ("Sequential", "ModuleList", "ModuleDict", "Transformer")
_OF_TORCH = ("torch.nn.", "torch.ao.nn.", "torch.ao.quantization", "torchao.", "bitsandbytes.")


def is_layer(part: "torch.nn.Module") -> bool:
    """Tell whether a module is drawn as one box: a layer of torch's own, or a script, whose inside is not followed."""
    import torch

    kind = type(part)
    if isinstance(part, torch.jit.ScriptModule):
        return True
    return kind.__module__.startswith(_OF_TORCH) and not kind.__name__.startswith(_HOLDERS)


def kind_of(part: "torch.nn.Module") -> str:
    """Return the name of a module's class; that of a script is the one that it was made of."""
    original = getattr(part, "original_name", None)
    if original is not None:
        return str(original)
    name = type(part).__name__
    if hasattr(part, "parametrizations"):
        name = type(part).__bases__[0].__name__
    quantized = "quantized" in type(part).__module__
    return f"Quantized{name}" if quantized and "Quant" not in name else name


def _weight(part: Any) -> "torch.Tensor | None":
    """Return a module's weight; quantized layers have a method for it."""
    import torch

    weight = getattr(part, "weight", None)
    if callable(weight) and not isinstance(weight, torch.Tensor):
        try:
            weight = weight()
        except (RuntimeError, TypeError, AttributeError):
            return None
    return weight if isinstance(weight, torch.Tensor) else None


def parameters_of(part: "torch.nn.Module") -> int:
    """Count the weight and bias of a layer that has no parameters, as quantized ones have none."""
    if not type(part).__module__.startswith("torch.ao."):
        return 0
    held = [_weight(part)]
    bias = getattr(part, "bias", None)
    if callable(bias):
        try:
            held.append(bias())
        except (RuntimeError, TypeError, AttributeError):
            pass
    return sum(tensor.numel() for tensor in held if tensor is not None)


def precision_of(held: "torch.nn.Module | torch.Tensor | None") -> str:
    """Return the dtype of a tensor, or of a module's weight or first parameter; "" without any."""
    import torch

    if held is None:
        return ""
    if isinstance(held, torch.Tensor):
        tensor: Any = held
    else:
        tensor = _weight(held)
        tensor = next(held.parameters(), None) if tensor is None else tensor
    if tensor is None:
        return ""
    kind = type(tensor).__name__
    if kind in ("Tensor", "Parameter", "FakeTensor", "Buffer", "UninitializedParameter") or not hasattr(
        tensor, "tensor_impl"
    ):
        return str(tensor.dtype).removeprefix("torch.").removeprefix("q")
    return str(getattr(tensor.tensor_impl, "dtype", tensor.dtype)).removeprefix("torch.")


def detail_of(part: Any) -> str:
    """Say in a few signs what a layer is: the kernel and channels of a convolution, the widths of a product."""
    kernel, inner, outer = (getattr(part, name, None) for name in ("kernel_size", "in_channels", "out_channels"))
    if isinstance(inner, int) and isinstance(outer, int) and isinstance(kernel, tuple):
        groups, transposed = getattr(part, "groups", 1), bool(getattr(part, "transposed", False))
        shape = (inner, outer // groups, *kernel) if transposed else (outer, inner // groups, *kernel)
        return convolution(shape, _numbers(getattr(part, "stride", ())), groups, transposed=transposed)
    for come, go in (
        ("in_features", "out_features"),
        ("num_embeddings", "embedding_dim"),
        ("input_size", "hidden_size"),
    ):
        if isinstance(first := getattr(part, come, None), int) and isinstance(second := getattr(part, go, None), int):
            layers = getattr(part, "num_layers", 1)
            return f"{first}→{second}" + (f" × {layers}" if isinstance(layers, int) and layers > 1 else "")
    if isinstance(heads := getattr(part, "num_heads", None), int) and hasattr(part, "embed_dim"):
        return f"{heads} heads"
    sizes = _numbers(kernel if kernel is not None else getattr(part, "output_size", None))
    if sizes and type(part).__module__.startswith("torch.nn"):
        return "×".join(map(str, sizes * 2 if len(sizes) == 1 and type(part).__name__.endswith("2d") else sizes))
    return ""


def _numbers(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value]
    return [each for each in value if isinstance(each, int)] if isinstance(value, tuple | list) else []
