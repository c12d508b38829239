"""Load models, try each on the inputs, measure its memory, and let all of them take turns at every batch size."""

import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from titrant.runtime.api import Listener
from titrant.runtime.backends.runnable import LoadedModel, RunInputs
from titrant.runtime.backends.session import Spec
from titrant.runtime.instruments.measure.figures import (
    BatchTimes,
    BenchSettings,
    ModelTimes,
    SideBySide,
    batch_times,
    checked_settings,
)
from titrant.runtime.instruments.measure.inputs import (
    InputShape,
    Maker,
    described,
    drawn,
    merged,
    repeated,
    rows_of,
)
from titrant.runtime.instruments.measure.subjects import BenchSubject, LoadedFunction, raised
from titrant.runtime.instruments.refused.inputs import refused_inputs
from titrant.runtime.machine.turns import Runs, no_garbage, time_turn
from titrant.runtime.user_code import call_unforked
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError, TitrantError
from titrant.schema.values.frozen import dataclass

_PROCESSOR = re.compile(r"^model name\s*:\s*(.*?)\s*$", re.MULTILINE)
# What brings its own pool of threads to functions.
_TORCH = "torch"
# Where neither a shape, nor data, nor a model says how many rows a batch has.
BATCHES = (1, 4, 16, 32)


@dataclass(frozen=True)
class InputSource:
    """Where inputs come from: `data`, or what `make` gives for a batch size, or `shapes` beside what the models say.

    `words` say so. With none of the first two numbers are drawn.
    """

    shapes: tuple[InputShape, ...] = ()
    data: RunInputs | None = None
    make: Maker | None = None
    words: str = ""


def race(
    subjects: Sequence[BenchSubject],
    source: InputSource,
    settings: BenchSettings,
    batches: Sequence[int] | None = None,
    listen: Listener | None = None,
) -> SideBySide:
    """Time subjects in turns on the same inputs at every batch size; see `SideBySide` for the answer.

    `batches` None are the rows of the data, the first size of a shape, the batch that a file insists on, else 1, 4, 16
    and 32. Each round every model runs once off the clock and once on it, in an order drawn anew, as in a run of a
    recipe. Nothing of the user's is changed for good: modes, threads and devices are as they were.
    Raises RecipeError X671 for settings, X673 for inputs that nothing shows, StepError X683 where a model cannot answer
    them, X674 where a function fails, X220 for a device that is not there.
    """
    checked_settings(settings, batches)
    with ExitStack() as open_models:
        loaded: dict[str, LoadedModel] = {}
        for subject in subjects:
            loaded[subject.name] = _load(subject, settings)
            open_models.callback(loaded[subject.name].close)
        open_models.enter_context(_kept_threads(settings.threads))
        source, make = _settled(source, list(loaded.values()), subjects, settings)
        maker = cache(partial(_made, make))  # the very same for all models
        sizes = tuple(batches) if batches is not None else _sizes(source, list(loaded.values()))
        shown = described(_own(subjects[0], maker)(max(sizes)))
        peaks = {each.name: _memory(each, loaded[each.name], maker, max(sizes), settings) for each in subjects}
        fixed = {name: each.fixed_batch for name, each in loaded.items()}
        devices = {name: each.device for name, each in loaded.items()}
        times: dict[str, list[BatchTimes]] = {each.name: [] for each in subjects}
        with no_garbage():
            for done, size in enumerate(sizes):
                if listen is not None:
                    listen(done, len(sizes), f"batch {size}")
                runs = _take_turns(subjects, loaded, maker, size, settings)
                for name, figures in batch_times(size, runs, settings.threads, devices).items():
                    times[name].append(figures)
    models = tuple(
        ModelTimes(
            each.name, each.artifact, each.digest, each.runnable.form, each.runnable.engine,
            devices[each.name], each.size_bytes, peaks[each.name], tuple(times[each.name]),
            tuple(_notes(each, fixed[each.name], sizes)),
        )
        for each in subjects
    )  # fmt: skip
    return SideBySide(models, shown, source.words, settings, _processor(), tuple(_busy(models)))


def _load(subject: BenchSubject, settings: BenchSettings) -> LoadedModel:
    try:
        return subject.runnable.load(settings.threads, settings.device)
    except TitrantError as error:
        raise _of(subject.name, error) from None


def _of(name: str, error: TitrantError) -> TitrantError:
    """Name the model that an error is about, and say what helps outside a recipe."""
    said = (refused_inputs(error) if isinstance(error, StepError) else error).diagnostics[0]
    if said.code in ("X212", "X674", "X675", "X673"):  # they name what they are of
        return error
    if said.code == "X220":
        return StepError(replace(said, message=f"{name}: {said.message}", help="leave the device out, or give another"))
    return StepError(replace(said, message=f"{name}: {said.message}"))


def _settled(
    source: InputSource, loaded: Sequence[LoadedModel], subjects: Sequence[BenchSubject], settings: BenchSettings
) -> tuple[InputSource, Maker]:
    """Return what makes the inputs, and where they come from in words."""
    if source.make is not None:
        return source, source.make
    if source.data is not None:
        return source, repeated(source.data)
    if all(subject.inputs is not None for subject in subjects):
        return source, _nothing
    specs: tuple[Spec, ...] = next((each.inputs for each in loaded if each.inputs), ())
    if not specs and not source.shapes and all(isinstance(each, LoadedFunction) for each in loaded):
        return replace(source, make=_nothing, words="functions without inputs"), _nothing
    shapes = merged(source.shapes, specs)
    return replace(source, shapes=shapes, words=f"drawn by shape, seed {settings.seed}"), drawn(shapes, settings.seed)


def _made(make: Maker, batch: int) -> RunInputs:
    """Return the inputs of a batch size; StepError X674 where what makes them raises, RecipeError X671 for too many."""
    try:
        return make(batch)
    except TitrantError:
        raise
    except MemoryError:
        message = f"a batch of {batch:,} does not fit into memory"
        raise RecipeError(Diagnostic("X671", message, help="give smaller ones, such as 1, 8, 32")) from None
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        raise raised("what makes the inputs", error) from None


def _nothing(_: int) -> RunInputs:
    return ()


def _own(subject: BenchSubject, maker: Maker) -> Maker:
    return subject.inputs or maker


def _sizes(source: InputSource, loaded: Sequence[LoadedModel]) -> tuple[int, ...]:
    fixed = [each.fixed_batch for each in loaded if each.fixed_batch is not None]
    first = next((shape.sizes[0] for shape in source.shapes if shape.sizes), None)
    if source.make is _nothing:
        return (1,)
    if source.data is not None:
        return (rows_of(source.data),)
    if isinstance(first, int):
        return (first,)
    return (min(fixed),) if fixed else BATCHES


def _prepared(subject: BenchSubject, loaded: LoadedModel, inputs: RunInputs) -> Callable[[], object]:
    works: list[Callable[[], object]] = []
    try:
        # A model answers once while it is prepared, and a copy of this process must not go on from there either.
        call_unforked(subject.name, lambda: works.append(loaded.prepare(inputs)))
        call_unforked(subject.name, works[0])
    except TitrantError as error:
        raise _of(subject.name, error) from None
    return works[0]


def _take_turns(
    subjects: Sequence[BenchSubject],
    loaded: Mapping[str, LoadedModel],
    maker: Maker,
    size: int,
    settings: BenchSettings,
) -> dict[str, Runs]:
    """Let every model run once in each turn, after the runs that warm up."""
    import numpy as np

    generator = np.random.default_rng(settings.seed)
    works = [(each.name, _prepared(each, loaded[each.name], _own(each, maker)(size)), Runs()) for each in subjects]
    for _ in range(settings.warmup):
        for name, work, _ in works:
            with _named(name):
                work()
    for _ in range(settings.iterations):
        for place in generator.permutation(len(works)):
            name, work, runs = works[place]
            with _named(name):
                time_turn(work, runs)
    return {name: runs for name, _, runs in works}


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name what failed in a run; what it has answered before it may fail on later."""
    try:
        yield
    except TitrantError as error:
        raise _of(name, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        raise raised(name, error) from None


def _memory(subject: BenchSubject, loaded: LoadedModel, maker: Maker, size: int, settings: BenchSettings) -> int | None:
    """Return the most bytes that loading a model and answering a batch take; None where nobody can tell.

    On one thread of the processor a child measures it, since a pool of threads does not survive a fork; on a device its
    library counts. Of a function it is by how much this process grew.
    """
    inputs = _own(subject, maker)(size)
    work = _prepared(subject, loaded, inputs)
    if isinstance(loaded, LoadedFunction):
        return _grown(work)
    if (counted := loaded.device_peak(work)) is not None:
        return counted
    if settings.threads > 1 or loaded.device != "cpu" or not sys.platform.startswith("linux"):
        return None
    from titrant.runtime.machine.peak_memory import ChildKilledError, memory_of

    def load_and_run() -> object:
        model = subject.runnable.load(settings.threads, settings.device)
        call = model.prepare(inputs)
        return model, call, call()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of others: the child needs none
        try:
            measured = memory_of(load_and_run)
        except (ChildKilledError, StepError):
            return None
    return None if measured is None else measured + (subject.runnable.held_bytes or 0)


def _grown(work: Callable[[], object]) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    from titrant.runtime.machine.peak_memory import PeakMemory

    memory = PeakMemory()
    held = work()
    grown = memory.grown_bytes()
    del held
    return grown


@contextmanager
def _kept_threads(threads: int) -> Iterator[None]:
    """Let torch use as many threads, also in functions, and as many as before afterwards."""
    torch: Any = sys.modules.get(_TORCH)
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def _notes(subject: BenchSubject, fixed: int | None, sizes: Sequence[int]) -> Iterator[str]:
    if subject.runnable.note:
        yield subject.runnable.note
    if fixed is not None and any(size != fixed for size in sizes):
        yield f"made for batches of {fixed}: others are answered in calls of {fixed}"


def _busy(models: Sequence[ModelTimes]) -> Iterator[str]:
    from titrant.runtime.contract.statistics.paired_runs import BUSY

    waited = max((times.waiting or 1.0 for model in models for times in model.times), default=1.0)
    if waited > BUSY:
        yield f"the machine was busy: a run in four took {waited:.1f} times its CPU time or more; trust the CPU time"
    for model in models:
        shares = [times.computing for times in model.times if times.computing is not None]
        if shares:
            yield f"{model.name} waits: it computes in {min(shares):.0%} of a run; the wall clock counts"


def _processor() -> str:
    """Return what the processor is called; "" where the system does not say."""
    import platform

    with suppress(OSError):
        named = _PROCESSOR.search(Path("/proc/cpuinfo").read_text("utf-8"))
        if named:
            return named[1]
    return platform.processor()
