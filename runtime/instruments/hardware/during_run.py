"""Sample the hardware while a run works, step by step, and keep it beside the record: it is another one every time."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titrant.runtime.store.run_folder import UTILIZATION_FILE, UTILIZATION_PAGE
from titrant.runtime.worker.parent import Listen
from titrant.schema.plan import UTILIZATION, Plan
from titrant.schema.values import files

if TYPE_CHECKING:
    from titrant.runtime.instruments.hardware.run_utilization import StepStretch
    from titrant.runtime.instruments.hardware.sampler import Sampler

INTERVAL_SECONDS = 0.5
# A run that takes days is sampled for its first one.
_LIMIT_SECONDS = 24 * 3600.0
_BEGIN, _END = "started", ("finished", "failed", "rejected")


class RunHardware:
    """Samples this process with its worker and the machine, where the plan asks for that; else it loads nothing.

    There is a sample at the beginning and at the end of every step, but none while models are timed. Nothing here
    raises: a run does not fail because of what watches it.
    """

    def __init__(self, plan: Plan) -> None:
        self._asked = UTILIZATION in plan.profiled
        self._timing = {step.id for step in plan.steps if step.operator.startswith("profile.")}
        self._sampler: Sampler | None = None
        self._folder: Path | None = None
        self._at_work: tuple[str, float] | None = None
        self._steps: list[StepStretch] = []

    def heard_by(self, listen: Listen) -> Listen:
        """Return a listener that hears every event of the run and hands it on."""
        if not self._asked:
            return listen

        def hear(event: Mapping[str, Any]) -> None:
            if event["event"] == _BEGIN:
                self._begin(event["step"])
            elif event["event"] in _END:
                self._end_step()
            listen(event)

        return hear

    def start(self, folder: Path) -> None:
        """Begin to sample a run, which has this folder."""
        if self._asked:
            from titrant.runtime.instruments.hardware.sampler import Sampler

            self._folder = folder
            self._sampler = Sampler(interval=INTERVAL_SECONDS, limit_seconds=_LIMIT_SECONDS)
            self._sampler.start()

    def end(self) -> None:
        """Stop sampling, and write what was seen into the run's folder: as JSON, and as a page for people."""
        if self._sampler is None or self._folder is None:
            return
        from titrant.runtime.instruments.hardware.run_utilization import RunUtilization, page
        from titrant.runtime.instruments.hardware.watch import utilization

        self._end_step()
        sampler, self._sampler = self._sampler, None
        seconds = sampler.elapsed
        sampler.stop()
        seen = RunUtilization(utilization(sampler, seconds, INTERVAL_SECONDS), tuple(self._steps))
        with contextlib.suppress(OSError):
            files.write_json(self._folder / UTILIZATION_FILE, seen)
            files.write_bytes(self._folder / UTILIZATION_PAGE, page(seen, self._folder.name).encode())

    def _begin(self, step: str) -> None:
        if self._sampler is None:
            return
        self._end_step()
        if step in self._timing:
            self._sampler.hold()
        else:
            self._sampler.take()
        self._at_work = step, self._sampler.elapsed

    def _end_step(self) -> None:
        from titrant.runtime.instruments.hardware.run_utilization import StepStretch

        if self._sampler is None or self._at_work is None:
            return
        (step, begun), self._at_work = self._at_work, None
        timed = step in self._timing
        if timed:
            self._sampler.go_on()
        else:
            self._sampler.take()
        self._steps.append(StepStretch(step, round(begun, 3), round(self._sampler.elapsed, 3), timed))
