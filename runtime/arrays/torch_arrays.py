"""torch's tensors and modules: many tensors are asked by one call a device and dtype, and one transfer a device."""

import math
from collections.abc import Iterator, Sequence
from inspect import ismethod

import torch  # noqa: TID253 - its very subject

from titrant.runtime.arrays.library import ArrayForm, ArrayLibrary, ModulePart, Moments, MomentsPiece, added

# Numbers that are read at once: a few copies in double precision of so many are small beside a model.
_PIECE = 1 << 20
# What needs no question whether it is made of other tensors.
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def form(tensor: torch.Tensor) -> ArrayForm:
    """Describe a tensor; without values are those on the meta device, and fake ones; some dtypes have no numbers."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if type(tensor) not in _PLAIN and isinstance(
        tensor, (torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer)
    ):
        return ArrayForm((0,), dtype, 0, True, "it has no shape before the first forward pass", shapeless=True)
    floating = tensor.is_floating_point() or tensor.is_complex()
    # Rows of several lengths have no shape together.
    shape = (tensor.numel(),) if tensor.is_nested else tuple(tensor.shape)
    return ArrayForm(shape, dtype, _bytes(tensor), floating, _unread(tensor))


def _bytes(tensor: torch.Tensor) -> int:
    inner = [_bytes(part) for part in _inner(tensor)]
    return sum(inner) if inner else tensor.numel() * tensor.element_size()


def _unread(tensor: torch.Tensor) -> str:
    if tensor.is_meta or (type(tensor) not in _PLAIN and hasattr(tensor, "fake_mode")):
        return "on the meta device there are no values"
    if tensor.is_quantized or _is_number(tensor.dtype):
        return ""
    return f"torch converts no {str(tensor.dtype).removeprefix('torch.')} to numbers"


def _is_number(dtype: torch.dtype) -> bool:
    """Tell whether numbers of a dtype can be converted; torch has dtypes that are names alone."""
    if dtype not in _NUMBERS:
        try:
            torch.empty(1, dtype=dtype).to(torch.float32 if not dtype.is_complex else torch.complex64)
            _NUMBERS[dtype] = True
        except (NotImplementedError, RuntimeError):
            _NUMBERS[dtype] = False
    return _NUMBERS[dtype]


_NUMBERS: dict[torch.dtype, bool] = {}


def _inner(tensor: torch.Tensor) -> list[torch.Tensor]:
    """List the tensors that a tensor of another package is made of, such as numbers of few bits and their scales."""
    if type(tensor) in _PLAIN:
        return []
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    if not is_traceable_wrapper_subclass(tensor):
        return []
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return [getattr(tensor, name) for name in names]


def packed(layer: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights and biases that a quantized layer of torch's keeps packed, and gives by a method."""
    if not type(layer).__module__.startswith("torch.ao.nn."):
        return  # a method of a user's layer may compute what is held elsewhere
    for name in ("weight", "bias", "get_weight", "get_bias"):
        method = getattr(layer, name, None)
        if not ismethod(method):
            continue
        given = method()
        # A recurrent layer has several.
        items = given.items() if isinstance(given, dict) else [(name.removeprefix("get_"), given)]
        yield from ((str(item), tensor) for item, tensor in items if isinstance(tensor, torch.Tensor))


def weight_numbers(layer: torch.nn.Module) -> int:
    """Return how many parameters stand in the buffer `weight` of a layer that says so, as quantized ones here do."""
    count = getattr(layer, "weight_numbers", 0)
    return count if isinstance(count, int) else 0


def _count_in_four_bits(parameter: torch.Tensor) -> int:
    """Return how many numbers bitsandbytes packed into a parameter; 0 where each is one of its own."""
    return math.prod(getattr(getattr(parameter, "quant_state", None), "shape", None) or (0,))


def _parts(module: torch.nn.Module) -> Iterator[ModulePart]:
    """Yield the parameters, with what layers keep packed, and then the buffers that are saved."""
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        tied, count = "" if first == name else first, _count_in_four_bits(parameter)
        yield ModulePart(name, parameter, True, parameter.requires_grad, tied, count)
    for prefix, layer in module.named_modules():
        for name, tensor in packed(layer):
            yield ModulePart(f"{prefix}.{name}" if prefix else name, tensor, True, False)
    for prefix, layer in module.named_modules():
        for name, buffer in layer.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] in getattr(layer, "_non_persistent_buffers_set", ()):
                continue
            first = seen.setdefault(id(buffer), name)
            count = weight_numbers(layer) if name.rpartition(".")[2] == "weight" else 0
            yield ModulePart(name, buffer, bool(count), False, "" if first == name else first, count)


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a tensor holds, without the zeros of sparse ones; complex ones as pairs."""
    tensor = dense(tensor)
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a tensor holds, without the zeros of sparse ones."""
    if tensor.is_nested:
        tensor = torch.cat([part.reshape(-1) for part in tensor.unbind()])
    elif tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout in _COMPRESSED:
        tensor = tensor.values()
    elif tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized or _inner(tensor):
        tensor = tensor.dequantize() if hasattr(tensor, "dequantize") else tensor
    return tensor


def _groups(tensors: Sequence[torch.Tensor]) -> dict[torch.device, dict[torch.dtype, list[int]]]:
    groups: dict[torch.device, dict[torch.dtype, list[int]]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault(tensor.device, {}).setdefault(tensor.dtype, []).append(place)
    return groups


def _foreach(tensors: Sequence[torch.Tensor], order: float) -> list[float]:
    """Return a norm of each tensor (any shape but empty), by one call a device and dtype and one transfer a device."""
    answers = [0.0] * len(tensors)
    for dtypes in _groups(tensors).values():
        places: list[int] = []
        norms: list[torch.Tensor] = []
        for dtype, own in dtypes.items():
            parts = [tensors[place] for place in own]
            if dtype not in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
                parts = [part.float() for part in parts]  # float8 has no norm, whole numbers none either
            wide = torch.float32 if order != math.inf and parts[0].dtype in (torch.float16, torch.bfloat16) else None
            norms += torch._foreach_norm(parts, order, wide)
            places += own
        widest = torch.float64 if any(norm.dtype == torch.float64 for norm in norms) else torch.float32
        for place, norm in zip(places, torch.stack([norm.to(widest) for norm in norms]).tolist(), strict=True):
            answers[place] = norm
    return answers


@torch.no_grad()
def extremes(tensors: Sequence[torch.Tensor]) -> list[float]:
    """Return the largest magnitude of each tensor: the maximum norm, which holds NaN and infinity and overflows never.

    Of whole numbers, quantized ones too, and where there are none, it is 0.
    """
    places, held = [], []
    for place, tensor in enumerate(tensors):
        for part in _held(tensor):
            places.append(place)
            held.append(part)
    largest = [0.0] * len(tensors)
    for place, value in zip(places, _foreach(held, math.inf), strict=True):
        largest[place] = value if not largest[place] >= value else largest[place]
    return largest


def _held(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the floating numbers of a tensor as they are kept; of one with few bits these are its scales."""
    inner = _inner(tensor)
    if inner:
        for part in inner:
            yield from _held(part)
    elif not form(tensor).unread and (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel():
        numbers = _real(tensor.detach())
        if numbers.numel():
            yield numbers


@torch.no_grad()
def norms(tensors: Sequence[torch.Tensor]) -> list[float]:
    """Return the L2 norm of each tensor, in single precision at least; one whose square is too large in double."""
    numbers = [_real(tensor.detach()) for tensor in tensors]
    full = [place for place, part in enumerate(numbers) if part.numel()]
    answers = [0.0] * len(tensors)
    for place, norm in zip(full, _foreach([numbers[place] for place in full], 2), strict=True):
        answers[place] = norm
    for place in full:
        if answers[place] == math.inf and bool(numbers[place].isfinite().all()):
            answers[place] = float(numbers[place].double().norm())
    return answers


@torch.no_grad()
def _moments(tensors: Sequence[torch.Tensor]) -> list[Moments]:
    """Measure tensors piece by piece where they are; all pieces of a device are read back together."""
    pieces: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
    for place, tensor in enumerate(tensors):
        if tensor.numel():
            pieces.setdefault(tensor.device, []).extend((place, piece) for piece in _pieces(tensor))
    own: list[list[MomentsPiece]] = [[] for _ in tensors]
    for parts in pieces.values():
        for (place, _), fields in zip(parts, torch.stack([piece for _, piece in parts]).tolist(), strict=True):
            own[place].append(MomentsPiece(*fields))
    return [added(each) for each in own]


def _pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    normal = torch.finfo(tensor.dtype).smallest_normal if form(tensor).floating else 0.0
    numbers = dense(tensor.detach())
    wide = torch.float32 if numbers.device.type == "mps" else torch.float64  # Metal has no double precision
    zeros = 0 if tensor.layout == torch.strided or tensor.is_nested else tensor.numel() - numbers.numel()
    if zeros > 0:
        yield torch.tensor([zeros, 0, 0, zeros, 0, 0, 0, 0, 0], dtype=wide, device=numbers.device)
    flat = numbers.reshape(-1)
    for start in range(0, flat.numel(), _PIECE):
        part = flat[start : start + _PIECE]
        yield _piece(_magnitudes(part) if part.is_complex() else part.to(wide), normal)


def _magnitudes(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.abs() if numbers.device.type == "mps" else numbers.to(torch.complex128).abs()


def _piece(values: torch.Tensor, normal: float) -> torch.Tensor:
    """Return the fields of a `MomentsPiece` as one tensor (9,), so that nothing is waited for."""
    sound = values.isfinite()
    count, nan = sound.sum(), values.isnan().sum()
    kept = torch.where(sound, values, 0)
    mean = kept.sum() / count.clamp(min=1)
    squares = torch.where(sound, values - mean, 0).square().sum()
    magnitudes = kept.abs()
    zero = ((magnitudes == 0) & sound).sum()
    subnormal = ((magnitudes < normal) & sound).sum() - zero if normal else torch.zeros_like(count)
    lowest, highest = torch.where(sound, values, math.inf).min(), torch.where(sound, values, -math.inf).max()
    fields = (count, nan, values.numel() - count - nan, zero, subnormal, mean, squares, lowest, highest)
    return torch.stack([field.to(values.dtype) for field in fields])


LIBRARY = ArrayLibrary(
    arrays=(torch.Tensor,),
    modules=(torch.nn.Module,),
    form=form,
    parts=_parts,
    detach=lambda tensor: tensor.detach(),
    norms=norms,
    extremes=extremes,
    moments=_moments,
    to_numpy=lambda tensor: tensor.detach().to_dense().cpu().double().numpy(),
)
