"""Load a released model, and say where it was judged on a processor that computes otherwise than this one."""

import os
import sys
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.api.runs import find_run

if TYPE_CHECKING:
    from titrant.runtime.serve.released import Released


def load(
    run: str | os.PathLike[str], *, name: str | None = None, rung: str | None = None, threads: int | None = None
) -> "Released":
    """Return a callable that applies a released run's transforms, model and operating point to raw rows.

    `run` is a run's folder or its `outputs`, an id, a unique prefix, or "latest". `name` chooses among several released
    files, `rung` among the variants of `quantization.adapt`; `threads` defaults to what the release was timed with.
    Warns, once, where the processor has other instruction sets than the one that it was judged on. Raises RecipeError
    when there is no such run, or it released nothing.
    """
    from titrant.compiler.machine.processor import processor
    from titrant.runtime.serve.released import load as load_folder
    from titrant.runtime.store.home import home_folder

    folder = Path(run)
    if not folder.is_dir():
        folder = find_run(str(run), home_folder())
    released = load_folder(folder, name=name, rung=rung, threads=threads)
    _, here = processor(sys.platform)
    if text := unjudged_words(released.name, released.judged_instructions, here):
        warnings.warn(text, stacklevel=2)
    return released


def unjudged_words(name: str, judged: Collection[str], here: Collection[str]) -> str:
    """Say that a release was judged on a processor with other instruction sets, and what to do; "" where it was not."""
    other = other_instructions(judged, here)
    if not other:
        return ""
    return (
        f"{name} was judged on {other}: kernels are chosen by them, and int8 rounds and saturates otherwise without "
        "VNNI, so neither its answers nor its speed here are those that were judged; judge it on this machine: titrant "
        "validate recipe RUN RECIPE"
    )


def other_instructions(judged: Collection[str], here: Collection[str]) -> str:
    """Say how the processor of the judgement differs from this one; "" where it does not, or one is not known.

    Entries NAME=value are variables that choose kernels, and no instruction sets.
    """
    sets = {instruction for instruction in judged if "=" not in instruction}
    if not sets or not here:
        return ""
    lost, gained = sorted(sets - set(here)), sorted(set(here) - sets)
    parts = [f"a processor with {', '.join(lost)}, which this one lacks"] * bool(lost)
    parts += [f"{'' if lost else 'a processor '}without {', '.join(gained)}, which this one has"] * bool(gained)
    return ", and ".join(parts)
