"""Run a recorded run again from its stored recipe alone, and say whether it came out the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.verbs.compare_rerun import Repeated, Rerun

FILE = "rerun.json"


def rerun(
    run: str | Path,
    *,
    exact: bool = False,
    redecide: bool = False,
    trust: bool = False,
    listen: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Rerun:
    """Repeat a run in a new folder: recorded decisions replayed, every step anew, nothing of the old run touched.

    `run` is a run's folder, id, unique prefix or "latest" (of those that came to their end; `listen` is told which one
    that is where a later one did not), or a lock file: the run that its entry for this machine names, or else the
    recipe beside it. With `redecide` the choices are made anew. `exact` makes an equivalent result
    exit 7 as well. `trust` lets the stored recipe run code from outside its folder. The comparison is written into the
    new run's folder. Raises RecipeError for a run that did not end, or a model or data that is gone, StepError when a
    step fails.
    """
    from titrant.runtime.execution import atomic
    from titrant.runtime.execution.home import open_home
    from titrant.runtime.execution.rerun.replay import Replay, recorded_choices
    from titrant.runtime.execution.worker import Worker
    from titrant.verbs.compare_rerun import compare_rerun
    from titrant.verbs.run import run as execute

    fresh: list[str] = []

    def hear(event: Mapping[str, Any]) -> None:
        if "would_judge" in event:
            fresh.append(f"{event['search']}: judge {', '.join(event['would_judge'])}")
        listen(event)

    what = _repeated(str(run), listen, redecide=redecide, trust=trust)
    plan = what.planned.plan
    choices = {} if redecide else recorded_choices(plan, what.old.record)
    record = execute(what.planned, listen=hear, replay=Replay(reuse=False, choices=choices))
    home = open_home()
    folder = home.runs / record.run
    with Worker(home, Path(what.planned.folder), plan.threads, plan.steps[0].seed) as worker:
        found = compare_rerun(what, folder, worker, exact=exact, would_now=(*what.otherwise, *fresh))
    atomic.write_json(folder / FILE, found)
    return found


def _repeated(run: str, listen: Callable[[Mapping[str, Any]], None], *, redecide: bool, trust: bool) -> Repeated:
    from titrant.verbs.compared import kind_of, run_folder
    from titrant.verbs.locked_run import locked_run
    from titrant.verbs.replan import replan

    if kind_of(run) == "lock":
        return locked_run(Path(run), redecide=redecide, trust=trust)
    folder = run_folder(run, ended=True)
    if run == "latest" and (newest := run_folder(run)) != folder:
        text = f"{newest.name} did not come to its end: {folder.name} is the latest that did"
        listen({"event": "note", "text": text})
    return replan(folder, redecide=redecide, trust=trust)
