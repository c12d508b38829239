"""Save a checkpoint at once: gather the states, of every rank where there are several, and write them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - its very subject

from titrant.runtime.training.checkpoints.checkpoint_file import Brief, write_checkpoint
from titrant.runtime.training.checkpoints.checkpoint_folder import name_of, next_number
from titrant.runtime.training.checkpoints.live_states import Parts, rank_and_size, state_of
from titrant.runtime.training.checkpoints.plain_state import Taken
from titrant.schema import __version__
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError


def save_checkpoint(
    folder: Path,
    parts: Parts,
    custom: Mapping[str, Any],
    *,
    epoch: int | None = None,
    step: int | None = None,
    metrics: Mapping[str, float],
) -> Path:
    """Write a new checkpoint of a folder and return its file, as `titrant.checkpoints.save` describes it."""
    numbers = {name: _number(name, value) for name, value in metrics.items()}
    brief = Brief(epoch, step, numbers, made_with(str(Path.cwd())))
    order = next((number for number in (step, epoch) if number is not None), None)
    if order is not None and order < 0:
        raise ValueError(f"a step and an epoch are 0 or more, not {order}")
    state = state_of(parts, custom, of_all_ranks)
    return _by_one(lambda: _write(folder, order, brief, state))


def _write(folder: Path, order: int | None, brief: Brief, state: Mapping[str, Any]) -> Path:
    file = folder / name_of(next_number(folder) if order is None else order)
    write_checkpoint(file, brief, Taken(state))
    return file


def of_all_ranks(own: Any) -> list[Any]:
    """Return what each rank holds, by rank; every rank calls it."""
    size = rank_and_size()[1]
    if size == 1:
        return [own]
    gathered: list[Any] = [None] * size
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def of_rank_0(own: Any) -> Any:
    """Return what rank 0 holds; every rank calls it."""
    if rank_and_size()[1] == 1:
        return own
    held = [own]
    torch.distributed.broadcast_object_list(held)
    return held[0]


def _by_one(write: Callable[[], Path]) -> Path:
    """Let rank 0 write while the others wait, and let all of them raise what it raised."""
    rank, size = rank_and_size()
    if size == 1:
        return write()
    file = Path()
    diagnostics: tuple[Diagnostic, ...] = ()
    if rank == 0:
        try:
            file = write()
        except StepError as error:
            diagnostics = error.diagnostics
    file, diagnostics = of_rank_0((file, diagnostics))
    if diagnostics:
        raise StepError(*diagnostics)
    return file


@cache
def _commit(folder: str) -> Mapping[str, str]:
    from titrant.runtime.run.record import git_state

    return git_state(folder)


def made_with(folder: str) -> dict[str, str]:
    """Return the time, the versions and the commit of a folder, which is asked for once in a process."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"time": now, "titrant_version": __version__, "torch_version": torch.__version__, **_commit(folder)}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"the metric {name} is {type(value).__name__} and not a number") from None
