"""Plan a recipe: gather the facts, compile, preview what would run, and refuse what the machine cannot hold."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.api.planned import NOTHING_RECORDED, AsRecorded, as_compared, as_written
from titrant.api.runs import earlier_releases
from titrant.compiler.bind.bound_recipe import BoundRecipe
from titrant.compiler.facts.user_operators import Ask
from titrant.compiler.predict.learned import NO_HISTORY, History
from titrant.compiler.predict.memory import Case, capacity_of, needs, short_of
from titrant.runtime.store.home import Home, home_to_read, newest_first, open_home
from titrant.schema.cost import Capacity
from titrant.schema.diagnostics.diagnostics import Diagnostic, InfeasibleError, RecipeError
from titrant.schema.facts import Hardware
from titrant.schema.language.parse import ParsedRecipe
from titrant.schema.plan import ASKED, GIVEN, Coverage, Step
from titrant.schema.planned import Planned
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    from titrant.compiler.given.file import FileToJudge
    from titrant.compiler.passes.passes import Change
    from titrant.runtime.run.preview import PlanPreview
    from titrant.runtime.worker.parent import Worker


def plan(
    recipe: ParsedRecipe,
    *,
    hardware: Hardware | None = None,
    trust: bool = False,
    keep_worker: "list[Worker] | None" = None,
    trace: "Callable[[Change], None] | None" = None,
    recorded: AsRecorded = NOTHING_RECORDED,
) -> Planned:
    """Compile a recipe, as `titrant.read` gives it, into a plan for `hardware` (default: this machine).

    What is not known yet of the model and the data is found out in a child process, which is the only place where the
    user's code runs, and kept where the home can be written. `keep_worker` receives that process instead of closing it,
    so that a run that follows need not start another. `trace` is told what each pass over the plan changed. `recorded`
    is what a run that is planned again compared with, and the file that it judged in place of all that the recipe would
    make. Raises RecipeError (P084 for what is no recipe), InfeasibleError, or StepError when the user's own code fails.
    """
    check_recipe(recipe)
    with _planning(recipe, hardware, trust=trust, keep_worker=keep_worker, trace=trace, asked=recorded) as compiled:
        refuse_beyond_capacity(compiled.planned, capacity_of(compiled.planned.hardware))
    return replace(compiled.planned, coverage=compiled.coverage())


def check_recipe(recipe: object) -> None:
    """Raise RecipeError P084 for what `titrant.read` or `titrant.recipe` did not give."""
    if isinstance(recipe, ParsedRecipe):
        return
    if isinstance(recipe, (str, Path)):
        message, advice = f"{recipe} is the path of a recipe, and not read yet", f"titrant.read({str(recipe)!r})"
    else:
        message = f"a {type(recipe).__name__} is no recipe"
        advice = "titrant.read gives one of a file, and titrant.recipe builds one"
    raise RecipeError(Diagnostic("P084", message, help=advice))


def plan_and_preview(
    recipe: ParsedRecipe,
    *,
    hardware: Hardware | None = None,
    trust: bool = False,
    keep_worker: "list[Worker] | None" = None,
    trace: "Callable[[Change], None] | None" = None,
    coverage: bool = True,
) -> "tuple[Planned, PlanPreview]":
    """Compile a recipe as `plan` does, and say what executing the plan would do: it is looked through once for both.

    Without `coverage` it is not said which layers each method would touch, which takes loading every method.
    """
    asked = NOTHING_RECORDED
    with _planning(recipe, hardware, trust=trust, keep_worker=keep_worker, trace=trace, asked=asked) as compiled:
        planned, seen = _previewed(compiled)
    return (replace(planned, coverage=compiled.coverage()) if coverage else planned), seen


def plan_and_preview_file(
    recipe: ParsedRecipe, file: "FileToJudge", *, trust: bool = False, keep_worker: "list[Worker] | None" = None
) -> "tuple[Planned, PlanPreview]":
    """Compile the plan that judges a file in place of all that the recipe would make, and preview it likewise."""
    asked = AsRecorded(file)
    with _planning(recipe, None, trust=trust, keep_worker=keep_worker, trace=None, asked=asked) as compiled:
        return _previewed(compiled)


def _previewed(compiled: "_Compiled") -> "tuple[Planned, PlanPreview]":
    """Say what executing a plan would do; InfeasibleError where this machine cannot."""
    planned = compiled.planned
    seen = preview(planned)
    refuse_beyond_capacity(planned, capacity_of(planned.hardware), seen)
    return planned, seen


@dataclass(frozen=True)
class _Compiled:
    """A plan, and what says which layers each method would touch."""

    planned: Planned
    coverage: Callable[[], tuple[Coverage, ...]]


@contextmanager
def _planning(
    recipe: ParsedRecipe,
    hardware: Hardware | None,
    *,
    trust: bool,
    keep_worker: "list[Worker] | None",
    trace: "Callable[[Change], None] | None",
    asked: AsRecorded,
) -> Iterator[_Compiled]:
    """Give the plan; the process that was asked goes to `keep_worker` when it is accepted, and is closed otherwise."""
    from titrant.compiler.bind.bind import bind
    from titrant.compiler.compile import compile_plan
    from titrant.compiler.facts.inspect import facts
    from titrant.compiler.facts.power import with_power
    from titrant.compiler.given.file import earlier_models, given_file
    from titrant.compiler.machine.detect import detect

    bound = bind(recipe, trust=trust)
    # A run writes there: it is refused at once where that cannot be.
    home = home_to_read() if keep_worker is None else open_home()
    machine = hardware or detect(home.path)
    with inspector(bound, home, keep_worker) as (ask, started):
        inspected = facts(bound, ask, home.path / "facts")
        optimized, cache = asked.optimized, home.path / "facts"
        given = None if optimized is None else given_file(bound, optimized, ask, cache, inspected.model)
        releases = earlier_releases(bound, home, (inspected.model, inspected.data), asked.earlier)
        compiled = compile_plan(
            bound,
            machine,
            inspected.model,
            inspected.data,
            files=inspected.files,
            trace=trace,
            history=history(home, machine),
            optimized=given,
            others=inspected.others,
            earlier=earlier_models(bound, releases, ask, cache, inspected.model),
        )
        compiled = with_power(compiled, inspected.data, ask, home.path / "facts")
        planned = Planned(
            plan=compiled,
            hardware=machine,
            recipe_text=resolved_text(recipe),
            recipe_file=recipe.file,
            folder=str(recipe.folder.absolute()),
            written=as_written(recipe, optimized) | as_compared(releases),
            needs=needs(Case(compiled, inspected.model, inspected.data)),
        )

        def covered() -> tuple[Coverage, ...]:
            from titrant.compiler.predict.layer_coverage import coverage

            return coverage(compiled, bound, machine, inspected.model) if given is None else ()

        yield _Compiled(planned, covered)
        if keep_worker is not None:
            keep_worker += started
            started.clear()


def resolved_text(recipe: ParsedRecipe) -> str:
    """Return the recipe's text as written, or printed anew, whole, where it extends another or was overridden.

    Printed anew it stands alone: `extends` is gone, and the base's paths start in the recipe's own folder.
    """
    if recipe.overrides or recipe.recipe.extends:
        from titrant.compiler.bind.check_files import own_paths
        from titrant.schema.language.write import dump
        from titrant.schema.recipe.recipe import written

        value = own_paths(written(recipe.recipe), recipe)
        return dump({key: inner for key, inner in value.items() if key != "extends"})
    return recipe.text


def preview(planned: Planned) -> "PlanPreview":
    """Say for every step whether it would run (+, ~), be reused (=) or wait for the search (?), and why.

    Where nothing would be executed it holds what `run` would return.
    """
    from titrant.runtime.run.preview import preview as preview_plan

    return preview_plan(planned, home_to_read())


@contextmanager
def inspector(
    bound: BoundRecipe, home: Home, given: "list[Worker] | None" = None
) -> Iterator[tuple[Ask, "list[Worker]"]]:
    """Give a function that asks a child process, started at the first question and kept in the list.

    One that is `given` is taken where it is as one that would be started, and is closed where it is not.

    Whoever wants the worker afterwards (a run does: torch is loaded already) takes it out of the list; a worker left
    in it is closed. In a home that cannot be written it works beside it, in a folder that then goes.
    """
    started: list[Worker] = []
    beside = ExitStack()
    recipe = bound.recipe
    if given:
        worker = given.pop()
        if worker.serves(bound.folder, recipe.reproducibility.threads, recipe.seed):
            started.append(worker)
        else:
            worker.close()

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if not started:
            from titrant.runtime.worker.parent import Worker

            place = beside.enter_context(_writable(home))
            started.append(Worker(place, bound.folder, recipe.reproducibility.threads, recipe.seed))
        # A run that follows loads what was loaded here: its first step takes it over.
        keeps = request.get("do") == "inspect" and "data.load" in request["steps"] and given is not None
        return started[0].ask({**request, "keep_data": True} if keeps else request)

    with beside:
        try:
            yield ask, started
        finally:
            for worker in started:
                worker.close()


@contextmanager
def _writable(home: Home) -> Iterator[Home]:
    """Give the home, made where it is missing, or where that cannot be an empty one for as long as it takes."""
    try:
        opened = open_home(home.path)
    except RecipeError as error:
        if error.diagnostics[0].code != "X300":
            raise
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="titrant-") as folder:
            yield open_home(Path(folder))
    else:
        yield opened


def history(home: Home, machine: Hardware) -> History:
    """Return what steps cost on this machine before; nothing is known of another one, which is only planned for."""
    from titrant.runtime.run.history import HistoryFile

    if machine.source != "detected":
        return NO_HISTORY
    return History(HistoryFile(home, machine.identity).read())


def cannot_run_here(planned: Planned, here: Hardware) -> dict[str, str]:
    """Return the steps of a plan that could not run on this machine, each with what it would need."""
    return {step.id: unmet for step in planned.plan.steps if (unmet := _unmet(step, here))}


def _unmet(step: Step, here: Hardware) -> str:
    from titrant.compiler.decide.target import find_gpu
    from titrant.runtime import catalog
    from titrant.runtime.catalog import full_params

    device = str(step.params.get("device", "cpu"))
    if not device.startswith("cpu") and find_gpu(device, here.identity.gpus) is None:
        return f"this machine has no device {device}"
    # A user's operator says what it needs in the worker only.
    if ":" in step.operator:
        return ""
    declaration = catalog.get(step.operator)
    return "; ".join(map(str, declaration.requires(full_params(declaration.params, step.params), here, None)))


def no_longer_planned(planned: Planned, home: Path) -> tuple[tuple[str, str], ...]:
    """Return the steps (id, operator) of the last finished run of this recipe that the plan no longer has.

    Runs whose plan is damaged are passed over, and so are those that judged a file from elsewhere where this one
    does not, or the other way round.
    """
    from titrant.schema.values.files import json_object

    now = {step.id for step in planned.plan.steps}
    judges = any(candidate.method == GIVEN for candidate in planned.plan.candidates)
    for folder in newest_first(home / "runs", f"-{planned.plan.name}-"):
        before = json_object(folder / "plan.json") if (folder / "record.json").is_file() else None
        if before is None or before.get("name") != planned.plan.name or _judges_given(before) != judges:
            continue
        if isinstance(before.get("steps"), list):
            return tuple((step["id"], step["operator"]) for step in before["steps"] if step["id"] not in now)
    return ()


def _judges_given(plan: Mapping[str, Any]) -> bool:
    candidates = plan.get("candidates")
    return isinstance(candidates, list) and any(candidate.get("method") == GIVEN for candidate in candidates)


def refuse_beyond_capacity(planned: Planned, capacity: Capacity, seen: "PlanPreview | None" = None) -> None:
    """Raise InfeasibleError where what really has to run cannot fit; what is stored already needs no room.

    `seen` is the plan's preview, where there is one; without it one is made where it is needed.
    """
    asked_only = {step.id for step in planned.plan.steps if step.stage in ASKED}
    if not short_of(planned.needs, planned.needs.keys() - asked_only, capacity):
        return

    running = {step for step, entry in (seen or preview(planned)).steps.items() if entry.symbol in "+~"}
    shortages = short_of(planned.needs, running, capacity)
    if shortages:
        raise InfeasibleError(*shortages)
