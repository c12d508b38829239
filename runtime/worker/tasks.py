"""The worker's work: run a step on stored values, inspect a recipe's model and data, describe a user's operator.

It also asks that operator what it needs, loads or costs, compares artifacts, and holds what a running step may use.
"""

import contextlib
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from titrant.runtime.backends import backend
from titrant.runtime.catalog import Declaration, load
from titrant.runtime.machine.devices import device_bytes
from titrant.runtime.machine.peak_memory import PeakMemory, hand_back, resident_bytes
from titrant.runtime.seed import Seeding, Settings
from titrant.runtime.store.artifacts import LiveValues, Store
from titrant.runtime.store.home import Home, row_key
from titrant.runtime.store.tensor_difference import stored_difference
from titrant.runtime.user_code import innermost_line
from titrant.runtime.worker.loaded_data import LoadedData, load_data
from titrant.runtime.worker.messages import LOADED
from titrant.runtime.worker.operators import ask_operator, described, find_operator
from titrant.runtime.worker.step_context import AtWork, Send, StepContext
from titrant.runtime.worker.user_watch import UserWatch
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.record import Artifact, Dependency, StepMemory
from titrant.schema.values.canonical import plain, sha256
from titrant.schema.values.dependencies import CHANGED, PACKAGE, relocated


class WorkerState:
    """What the worker has at hand from one request to the next."""

    def __init__(  # noqa: PLR0917
        self, home: Home, folder: Path, scratch: Path, watch: UserWatch, seeding: Seeding, send: Send
    ) -> None:
        self.home = home
        self._folder = folder
        self.scratch = scratch
        self._watch = watch
        self._send = send
        self._store = Store(home)
        self._live = LiveValues(self._store, scratch / "live")
        self._depends: tuple[Dependency, ...] = ()
        self._at_work = AtWork(scratch)
        self._seeding = seeding
        self._seeding.install()
        self._loaded_data: LoadedData | None = None  # of an inspection, for the first step that runs

    def do(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a request; one that does not say what to do is an inspection."""
        work = {
            "run": self._run, "inspect": self._inspect, "describe": self._describe, "compare": self._compare,
            "ask_operator": self._ask_operator, "bench": self._bench,
            "look": lambda asked: importlib.import_module("titrant.runtime.instruments.look").answer(
                asked, self._live.load, self._watch.watching
            ),
            "power": lambda asked: importlib.import_module("titrant.runtime.contract.power.simulate").answer(asked),
        }[request.get("do", "inspect")]  # fmt: skip
        self._depends = ()
        self._at_work.name("")
        return work(request)

    def dependencies(self) -> list[dict[str, str]]:
        """Return what of the user's the last request depended on, as far as it got."""
        listed: list[dict[str, str]] = plain(self._depends)
        return listed

    def user_place(self, error: BaseException) -> str:
        """Return "file:line" of the innermost line of the user's code that an exception came through, or ""."""
        return innermost_line(error, self._watch.user_file)

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        scratch = Path(tempfile.mkdtemp(dir=self.scratch))
        carried: set[str] = set()
        kept, self._loaded_data = self._loaded_data, None
        try:
            with self._watch.watching(request["params"]):
                declaration = find_operator(request["operator"])
                try:
                    params = declaration.params.model_validate_json(json.dumps(request["params"]))
                    loaded = self._load_all(declaration, params, request["inputs"])
                    settings = _settings(request, declaration)
                    if kept is not None and not kept.is_for(params, settings):
                        kept = None
                    memory, before, begun = PeakMemory(), resident_bytes(), time.perf_counter()
                    self._seeding.apply(settings)
                    inputs = self._inputs(request["inputs"], declaration, carried)
                    context = StepContext(request["seed"], request["threads"], scratch, self._send)
                    context.row_key = partial(row_key, self.home)
                    context.attend = self._at_work.name
                    context.checkpoints = self.home.training / request["key"] if "key" in request else None
                    if "resume" in request["params"]:
                        context.code = self._watch.code_of({"params": request["params"]}, carried)
                    values = declaration.run(params, context, **inputs) if kept is None else kept.given(context)
                    _check_ports(declaration, values)
                finally:
                    self._drop_consumed(request, declaration)
                    self._depends = self._dependencies(request, declaration, carried)
            if kept is not None:
                self._depends = kept.dependencies
            waited = self._store.disk_seconds
            outputs = self._keep(declaration, values, carried)
            waited = self._store.disk_seconds - waited
            del inputs, values
            for digest in request.get("frees", ()):
                self._live.drop(digest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        seconds, peak = time.perf_counter() - begun, memory.grown_bytes()
        hand_back()  # what it freed is held by nobody; the next step would do so first
        held = resident_bytes()
        if kept is not None:
            seconds, before = seconds + kept.seconds, before - kept.held_bytes
            peak = max(kept.peak_bytes, kept.held_bytes + peak)
        return {
            "outputs": plain(outputs),
            "measurements": plain(list(context.measurements.values())),
            "seconds": seconds,
            "peak_bytes": peak,
            "memory": plain(StepMemory(held, held - before, device_bytes())),
            "loads": loaded,
            "dependencies": self.dependencies(),
            "not_reused": context.not_reused or _changed_meanwhile(self._depends),
            "disk_seconds": waited,
            **({LOADED: True} if kept is not None else {}),
        }

    def _load_all(self, declaration: Declaration, params: Any, inputs: Mapping[str, Any]) -> dict[str, float]:
        """Load what a step imports: engines first, each for the first model that it is given of it.

        Loading an engine may end the process: those of other models are left alone, and it is known whose it was.
        """
        given = {name for port, source in inputs.items() if declaration.inputs[port].many for name in source}
        parameters = {name: getattr(params, name) for name in declaration.engines}
        engines = {
            parameter: {model: engine for model, engine in value.items() if model in given}
            for parameter, value in parameters.items()
            if isinstance(value, Mapping)
        }
        loaded: dict[str, float] = {}
        for model, engine in (item for by_model in engines.values() for item in by_model.items()):
            self._at_work.name(model)
            loaded |= self._load((backend.get(engine).module,))
        self._at_work.name("")
        return loaded | self._load(declaration.loads(params.model_copy(update=engines) if engines else params))

    def _load(self, modules: tuple[str, ...]) -> dict[str, float]:
        """Load libraries before the clock of the step runs; telling the user's modules from theirs is part of it."""
        if loaded := load(modules):
            begun = time.perf_counter()
            self._watch.roots()
            loaded[max(loaded, key=lambda module: loaded[module])] += time.perf_counter() - begun
        return loaded

    def _inspect(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what `titrant.runtime.inspect.inspect.inspect` finds; paths of dependencies are absolute.

        With "keep_data" the data are kept for the step that loads them, should it run next.
        """
        asked = {key: value for key, value in request.items() if key not in ("do", "log", "drawn", "keep_data")}
        settings = Settings(int(request.get("seed", 0)), 1, True)
        self._seeding.apply(settings)
        data = None
        if "data.load" in asked["steps"]:
            self._loaded_data = None
            data = load_data(asked["steps"]["data.load"], settings, self._watch)
            self._mark_loaded(request)
        # Only where a model is to be drawn too is that what loads the room of drawings.
        drawn = ("instruments.architecture.readers.read", "read")
        module, function = drawn if request.get("drawn") else ("inspect.inspect", "inspect")
        with self._watch.watching(asked):
            look = getattr(importlib.import_module(f"titrant.runtime.{module}"), function)
            answer = dict(look(asked, None if data is None else (data.tables, data.seconds)))
            seen = self._watch.dependencies(asked)
        if data is not None:
            seen = (*data.dependencies, *seen)
            if request.get("keep_data"):
                self._loaded_data = replace(data, digest=answer["data"]["digest"])
        answer["model"] = self._with_readings(answer["model"], asked["steps"])
        files = {item["path"]: item["digest"] for item in answer.get("dependencies", ())}
        for item in seen:
            if not item.path.startswith(PACKAGE):  # versions of packages are asked with
                files.setdefault(relocated(item.path, self._absolute), item.digest)
        return answer | {"dependencies": [{"path": path, "digest": files[path]} for path in sorted(files)]}

    def _absolute(self, path: str) -> str:
        return str(self._folder / path) + "/" * path.endswith("/")

    def _mark_loaded(self, request: Mapping[str, Any]) -> None:
        """Say that data which are kept are there: what this request printed so far is told as the step's."""
        if request.get("keep_data"):
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            self._send({"event": LOADED})

    def _with_readings(self, model: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, Any]:
        """Let a model's digest also stand for the files that its factory's modules read, which may shape it."""
        factory = steps.get("model.load", {}).get("factory", "")
        files = self._watch.files_of(factory.partition(":")[0]) if factory else {}
        return dict(model) | ({"digest": sha256({"model": model["digest"], "files": files})} if files else {})

    def _describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with an operator's declaration and what of the user's it depends on."""
        name = request["operator"]
        with self._watch.watching():
            declaration = find_operator(name)
        about = described(declaration, name)
        return about | {"dependencies": plain(self._watch.dependencies({"operator": name}))}

    def _ask_operator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what a user's operator needs, or would cost."""
        with self._watch.watching():
            return ask_operator(find_operator(request["operator"]), request)

    def _bench(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with the figures of models that are timed in turns."""
        with self._watch.watching():
            timing = importlib.import_module("titrant.runtime.instruments.measure.bench")
            return dict(timing.answer(request, self._live.load, self._send))

    def _compare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with how far apart the artifacts of each pair are."""
        differences = []
        for old, new in request["pairs"]:
            scratch = Path(tempfile.mkdtemp(dir=self.scratch))
            differences.append(plain(stored_difference(self._store, Artifact(**old), Artifact(**new), scratch)))
            shutil.rmtree(scratch, ignore_errors=True)
        return {"differences": differences}

    def _inputs(self, given: Mapping[str, Any], declaration: Declaration, carried: set[str]) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for port, source in given.items():
            if declaration.inputs[port].many:
                inputs[port] = {}
                for name, item in source.items():
                    self._at_work.name(name)
                    inputs[port][name] = self._input(Artifact(**item), carried)
                self._at_work.name("")
            else:
                inputs[port] = self._input(Artifact(**source), carried)
        return inputs

    def _input(self, artifact: Artifact, carried: set[str]) -> Any:
        live = self._live.find(artifact)
        if live is None:
            before = self._watch.roots()
            value = self._live.load(artifact)
            modules = self._watch.roots() - before if _runs_user_code(artifact) else frozenset()
            self._live.keep(artifact, value, modules)
            live = self._live.find(artifact)
            assert live is not None
        carried |= live.modules
        factory = getattr(live.value, "factory", "")
        if factory:
            carried.add(factory.partition(":")[0])
        return live.value

    def _dependencies(
        self, request: Mapping[str, Any], declaration: Declaration, carried: set[str]
    ) -> tuple[Dependency, ...]:
        asked = {"operator": request["operator"], "params": request["params"]}
        reads_files = declaration.user_code or ":" in request["operator"]
        return self._watch.dependencies(asked, carried, files=reads_files)

    def _drop_consumed(self, request: Mapping[str, Any], declaration: Declaration) -> None:
        """Forget what the step consumed, also when it failed half-way: it is no longer what was stored."""
        for port in declaration.consumes:
            source = request["inputs"].get(port, {})
            for item in [source] if "digest" in source else source.values():
                self._live.drop(item["digest"])

    def _keep(self, declaration: Declaration, values: Mapping[str, Any], carried: set[str]) -> dict[str, Artifact]:
        outputs = {port: self._store.put(kind, values[port]) for port, kind in declaration.outputs.items()}
        for port, artifact in outputs.items():
            modules = self._watch.roots() | carried if _runs_user_code(artifact) else frozenset()
            self._live.keep(artifact, values[port], frozenset(modules))
        return outputs


def _changed_meanwhile(depends: Iterable[Dependency]) -> str:
    return "a file changed while your code read it" if any(item.digest == CHANGED for item in depends) else ""


def _runs_user_code(artifact: Artifact) -> bool:
    """Whether loading an artifact runs the user's modules."""
    kind = backend.kinds().get(artifact.kind)
    return kind is not None and kind.user_code


def _settings(request: Mapping[str, Any], declaration: Declaration) -> Settings:
    # What fills uninitialized memory and avoids fast kernels would be timed along.
    exact = request["deterministic"] and declaration.determinism != "measured"
    return Settings(request["seed"], request["threads"], exact)


def _check_ports(declaration: Declaration, values: Any) -> None:
    given = set(values) if isinstance(values, Mapping) else None
    if given != set(declaration.outputs):
        gave = "no mapping" if given is None else ", ".join(sorted(given)) or "nothing"
        raise StepError(
            Diagnostic(
                "X315",
                f"{declaration.name} gave {gave}; it declares {', '.join(declaration.outputs)}",
                help="return a mapping with one value for each declared output",
            )
        )
