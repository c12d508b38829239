"""Take the states of a live training for a checkpoint, and give them back to objects that fit them, all or none."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - its very subject

from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

Parts = Mapping[str, Any]
# Names that stand beside those of the parts.
RANDOM, CUSTOM, KINDS = "random", "custom", "kinds"
_Setter = Callable[[], object]


def _alone(own: Any) -> list[Any]:
    return [own]


def state_of(parts: Parts, custom: Mapping[str, Any], ranks: Callable[[Any], list[Any]] = _alone) -> dict[str, Any]:
    """Return the states of the parts by name, those of the global generators, and the custom data.

    A part is a module, an optimizer, a generator of torch, NumPy or `random`, or anything that has `state_dict` and
    `load_state_dict`, such as a scheduler or a scaler. What is random differs from rank to rank: `ranks` takes this
    one's and returns that of all. Raises StepError X534 for another part and for a name that is taken.
    """
    reserved = {RANDOM, CUSTOM, KINDS}.intersection(parts)
    if reserved:
        message = f"a part cannot be called {min(reserved)}: a checkpoint keeps something else under that name"
        raise StepError(Diagnostic("X534", message, help="give it another name"))
    kinds = {name: _kind(part) for name, part in parts.items()}
    drawn = {name: _generator_state(part) for name, part in parts.items() if _is_generator(part)}
    states = {name: _get(name, part) for name, part in parts.items() if name not in drawn}
    return {**states, KINDS: kinds, RANDOM: ranks({"global": random_states(), "parts": drawn}), CUSTOM: dict(custom)}


def give_back(file: Path, state: Mapping[str, Any], parts: Parts, *, restore_random: bool = True) -> None:
    """Restore the parts in place, and the global generators; nothing is changed where one of the parts does not fit.

    Raises StepError X154 for weights of another model, X530 for a part that the file lacks or that is of another kind.
    """
    drawn = _of_rank(file, state[RANDOM], needed=restore_random or any(map(_is_generator, parts.values())))
    setters = [_setter(file, {**state, **drawn["parts"]}, name, part) for name, part in parts.items()]
    for setter in setters:
        setter()
    if restore_random:
        set_random_states(drawn["global"])


def _of_rank(file: Path, ranks: list[dict[str, Any]], *, needed: bool) -> dict[str, Any]:
    """Return what was random in the process that had this one's rank."""
    rank, size = rank_and_size()
    if needed and size != len(ranks):
        message = f"{file.name} was saved by {len(ranks)} processes, and here are {size}"
        advice = "start as many, or load it with restore_random=False"
        raise StepError(Diagnostic("X530", message, help=advice))
    return ranks[min(rank, len(ranks) - 1)]


def rank_and_size() -> tuple[int, int]:
    """Return the number of this process among those of torch.distributed, and how many they are: 0 and 1 without."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch, on CUDA too where it is in use."""
    states = {
        "python": _shortened(random.getstate()),
        "numpy": np.random.get_state(legacy=False),
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """Set the global generators; those of CUDA devices that are not here are left out."""
    random.setstate(_lengthened(states["python"]))
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["cpu"])
    for device, state in enumerate(states.get("cuda", ())[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)


def _is_generator(part: Any) -> bool:
    return isinstance(part, (random.Random, np.random.Generator, torch.Generator))


def _generator_state(part: Any) -> Any:
    if isinstance(part, random.Random):
        return _shortened(part.getstate())
    return part.bit_generator.state if isinstance(part, np.random.Generator) else part.get_state()


def _get(name: str, part: Any) -> Any:
    if hasattr(part, "state_dict") and hasattr(part, "load_state_dict"):
        return dict(part.state_dict())
    message = f"the part {name} is {type(part).__name__}, which has no state_dict and load_state_dict"
    raise StepError(Diagnostic("X534", message, help="keep plain values in `custom`"))


def _shortened(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return Python's state with its 625 numbers as one array."""
    version, numbers, gauss = state
    return version, np.array(numbers, dtype=np.uint32), gauss


def _lengthened(state: tuple[Any, ...]) -> tuple[Any, ...]:
    version, numbers, gauss = state
    return version, tuple(numbers.tolist()), gauss


def _kind(part: Any) -> dict[str, Any]:
    """Return what is compared before a state is given to another object than the one that it is from."""
    kind: dict[str, Any] = {"class": type(part).__name__}
    if isinstance(part, torch.optim.Optimizer):
        kind["groups"] = [[list(weight.shape) for weight in group["params"]] for group in part.param_groups]
    return kind


def _setter(file: Path, state: Mapping[str, Any], name: str, part: Any) -> _Setter:
    """Check that a part fits its state and return what restores it."""
    kinds = state[KINDS]
    if name not in kinds:
        message = f"{file.name} holds no {name}: it holds {', '.join(kinds)}"
        raise StepError(Diagnostic("X530", message, help="name the parts as they were named when it was saved"))
    saved = state[name]
    if isinstance(part, torch.nn.Module):
        return _module(file, saved, part)
    kind = _kind(part)
    if kind["class"] != kinds[name]["class"]:
        message = f"{name} is {kind['class']}, and in {file.name} it is {kinds[name]['class']}"
        raise StepError(Diagnostic("X530", message, help="make it as it was made when the checkpoint was saved"))
    if isinstance(part, torch.optim.Optimizer):
        _check_groups(file, name, kinds[name]["groups"], kind["groups"])
        return lambda: _set_optimizer(part, saved)
    if isinstance(part, random.Random):
        return lambda: part.setstate(_lengthened(saved))
    if isinstance(part, np.random.Generator):
        return lambda: setattr(part.bit_generator, "state", saved)
    if isinstance(part, torch.Generator):
        return lambda: part.set_state(saved)
    return lambda: part.load_state_dict(saved)


def _module(file: Path, saved: Mapping[str, Any], module: torch.nn.Module) -> _Setter:
    """Fit weights by their names, as those of any trainer's file are; here the numbers may not change their type."""
    from titrant.runtime.backends.torch.checkpoint import Saved
    from titrant.runtime.backends.torch.weights import fit_weights

    own = module.state_dict()
    tensors = {name: value for name, value in saved.items() if isinstance(value, torch.Tensor)}
    extra = {name: value for name, value in saved.items() if name not in tensors}
    fitted, loaded = fit_weights(module, Saved(file.name, {(): tensors}))
    if loaded.casts:
        old, new, count = loaded.casts[0]
        message = f"{file.name} holds {count} tensors as {old}, and the model has them as {new}"
        raise StepError(Diagnostic("X530", message, help=f"convert the model to {old} before the checkpoint is loaded"))
    differing = {name for name, value in own.items() if not isinstance(value, torch.Tensor)} ^ set(extra)
    if differing:
        message = f"{file.name} and the model differ in {min(differing)}, which is no tensor"
        raise StepError(Diagnostic("X530", message, help="build the model as it was when the checkpoint was saved"))
    return lambda: module.load_state_dict({**own, **fitted, **extra}, strict=True)


def _check_groups(file: Path, name: str, saved: list[list[list[int]]], own: list[list[list[int]]]) -> None:
    if saved == own:
        return
    counts = [f"{sum(map(len, groups))} weights in {len(groups)} groups" for groups in (saved, own)]
    there, here = ([shape for group in groups for shape in group] for groups in (saved, own))
    shapes = next((f"; {a} there is {b} here" for a, b in zip(there, here, strict=False) if a != b), "")
    message = f"{name} moves other weights than in {file.name}: there {counts[0]}, here {counts[1]}{shapes}"
    raise StepError(Diagnostic("X530", message, help="give it the same weights, in the same groups and order"))


def _set_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Restore an optimizer; torch casts states to the weights' type, and what was saved in another is put back so."""
    optimizer.load_state_dict(dict(saved))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    indices = [index for group in saved["param_groups"] for index in group["params"]]
    for index, weight in zip(indices, weights, strict=True):
        for name, value in saved["state"].get(index, {}).items():
            now = optimizer.state[weight][name]
            if isinstance(value, torch.Tensor) and now.dtype != value.dtype:
                optimizer.state[weight][name] = value.to(now.device)
