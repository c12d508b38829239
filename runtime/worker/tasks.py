"""The worker's work: run a step on stored values, inspect a recipe's model and data, describe a user's operator.

It also asks that operator what it needs, loads or costs, compares artifacts, and holds what a running step may use.
"""

import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.runtime.catalog import Declaration, Params, load, no_modules, no_requirement, same_model, unknown_cost
from titrant.runtime.machine.devices import device_bytes
from titrant.runtime.machine.peak_memory import PeakMemory, hand_back, resident_bytes
from titrant.runtime.seed import Seeding, Settings
from titrant.runtime.store.artifacts import LiveValues, Store
from titrant.runtime.store.declarations import describe
from titrant.runtime.store.home import Home, row_key
from titrant.runtime.store.tensor_difference import stored_difference
from titrant.runtime.user_code import innermost_line, said_by, unloaded
from titrant.runtime.worker.step_context import AtWork, Send, StepContext
from titrant.runtime.worker.user_watch import UserWatch
from titrant.schema.cost import Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.record import Artifact, Dependency, StepMemory
from titrant.schema.values.canonical import plain, read_back, sha256


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
        try:
            with self._watch.watching(request["params"]):
                declaration = _declaration(request["operator"])
                try:
                    params = declaration.params.model_validate_json(json.dumps(request["params"]))
                    loaded = self._load_all(declaration, params, request["inputs"])
                    memory, before, begun = PeakMemory(), resident_bytes(), time.perf_counter()
                    self._seeding.apply(_settings(request, declaration))
                    inputs = self._inputs(request["inputs"], declaration, carried)
                    context = StepContext(request["seed"], request["threads"], scratch, self._send)
                    context.row_key = partial(row_key, self.home)
                    context.attend = self._at_work.name
                    context.checkpoints = self.home.training / request["key"] if "key" in request else None
                    values = declaration.run(params, context, **inputs)
                    _check_ports(declaration, values)
                finally:
                    self._drop_consumed(request, declaration)
                    self._depends = self._dependencies(request, declaration, carried)
            outputs = self._keep(declaration, values, carried)
            del inputs, values
            for digest in request.get("frees", ()):
                self._live.drop(digest)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        seconds, peak = time.perf_counter() - begun, memory.grown_bytes()
        hand_back()  # what it freed is held by nobody; the next step would do so first
        held = resident_bytes()
        return {
            "outputs": plain(outputs),
            "measurements": plain(list(context.measurements.values())),
            "seconds": seconds,
            "peak_bytes": peak,
            "memory": plain(StepMemory(held, held - before, device_bytes())),
            "loads": loaded,
            "dependencies": self.dependencies(),
            "not_reused": context.not_reused,
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
        """Answer with what `titrant.runtime.inspect.inspect.inspect` finds; paths of dependencies are absolute."""
        asked = {key: value for key, value in request.items() if key not in ("do", "log", "drawn")}
        # Only where a model is to be drawn too is that what loads the room of drawings.
        drawn = (
            ("instruments.architecture.readers.read", "read")
            if request.get("drawn")
            else ("inspect.inspect", "inspect")
        )
        self._seeding.apply(Settings(int(request.get("seed", 0)), 1, True))
        with self._watch.watching(asked):
            answer = dict(getattr(importlib.import_module(f"titrant.runtime.{drawn[0]}"), drawn[1])(asked))
            seen = self._watch.dependencies(asked)
        answer["model"] = self._with_readings(answer["model"], asked["steps"])
        files = {item["path"]: item["digest"] for item in answer.get("dependencies", ())}
        for item in seen:
            if not item.path.endswith("/") and ":" not in item.path:
                files.setdefault(str(self._folder / item.path), item.digest)
        return answer | {"dependencies": [{"path": path, "digest": files[path]} for path in sorted(files)]}

    def _with_readings(self, model: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, Any]:
        """Let a model's digest also stand for the files that its factory's modules read, which may shape it."""
        factory = steps.get("model.load", {}).get("factory", "")
        files = self._watch.files_of(factory.partition(":")[0]) if factory else {}
        return dict(model) | ({"digest": sha256({"model": model["digest"], "files": files})} if files else {})

    def _describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with an operator's declaration and what of the user's it depends on."""
        name = request["operator"]
        with self._watch.watching():
            declaration = _declaration(name)
        _check_declared(declaration, name)
        declared = {
            "family": declaration.family,
            "inputs": plain(declaration.inputs),
            "consumes": list(declaration.consumes),
            "doc": declaration.doc,
            "method": plain(declaration.method),
            "user_code": declaration.user_code,
            "costless": list(declaration.costless),
            "parameters": declaration.params.model_json_schema(),
            "answers_for": answers_for(declaration),
        }
        dependencies = self._watch.dependencies({"operator": name})
        return {"operator": plain(describe(name)), "declared": declared, "dependencies": plain(dependencies)}

    def _ask_operator(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what a user's operator needs, or would cost."""
        with self._watch.watching():
            return ask_operator(_declaration(request["operator"]), request)

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


def _runs_user_code(artifact: Artifact) -> bool:
    """Whether loading an artifact runs the user's modules."""
    kind = backend.kinds().get(artifact.kind)
    return kind is not None and kind.user_code


def _declaration(name: str) -> Declaration:
    try:
        return catalog.get(name)
    except KeyError:
        raise RecipeError(Diagnostic("X314", f"there is no operator {name}")) from None
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            Diagnostic(
                "X314",
                f"the operator {name} cannot be loaded: {unloaded(error)}",
                help="write module:name of a function that @operator declares, in the recipe's folder or installed",
                key="quantization.method",
                said=said_by(error),
            )
        ) from None


def _check_declared(declaration: Declaration, name: str) -> None:
    """Raise RecipeError X314 for what of a declaration is no data, and so not checked by whoever reads it."""
    wrong = [
        part
        for part in ("requires", "predict", "loads", "idle", "model_after")
        if not callable(getattr(declaration, part))
    ]
    if not (isinstance(declaration.params, type) and issubclass(declaration.params, Params)):
        message, advice = "`params` is no class of parameters", "derive it from titrant.Params"
    elif wrong:
        message, advice = f"`{wrong[0]}` is no function", "give a function, or leave it out"
    else:
        return
    message = f"{name} is declared wrongly: {message}"
    raise RecipeError(Diagnostic("X314", message, help=advice, key="quantization.method"))


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


def answers_for(declaration: Declaration) -> list[str]:
    """Name what an operator says of itself before it runs: requires, predict, loads, idle, model_after."""
    own = {
        "requires": declaration.requires is not no_requirement,
        "predict": declaration.predict is not unknown_cost,
        "loads": declaration.loads is not no_modules,
        "idle": declaration.idle is not catalog.never,
        "model_after": declaration.model_after is not same_model,
    }
    return [name for name, says in own.items() if says]


def ask_operator(declaration: Declaration, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer {"ask": what of an operator, "params", "hardware", "model", "work"} with {"answer"}.

    To "requires" the answer is the list of what is unmet, to "predict" the prediction as JSON, to "loads" the list of
    modules, to "idle" whether it has nothing to do, to "model_after" the facts of the model that it makes; the last
    three go without hardware. Raises RecipeError X316 for options that the operator does not take, StepError
    X316 where it answers with something else than it must.
    """
    params = _params(declaration, request)
    hardware = None if request["hardware"] is None else read_back(Hardware, request["hardware"])
    model = None if request["model"] is None else read_back(ModelFacts, request["model"])
    asked: str = request["ask"]
    made: Any = None
    if asked == "predict":
        made = declaration.predict(params, hardware, model, read_back(Work, request["work"]))  # type: ignore[arg-type]
    elif asked == "requires":
        made = declaration.requires(params, hardware, model)  # type: ignore[arg-type]
    else:
        answer = {"idle": declaration.idle, "model_after": declaration.model_after}
        made = declaration.loads(params) if asked == "loads" else answer[asked](params, model)  # type: ignore[operator,arg-type]
    if not _IS[asked](made):
        message = f"`{asked}` of {request['operator']} answers with {type(made).__name__}"
        raise StepError(Diagnostic("X316", message, help=f"return {_DUE[asked]}"))
    return {"answer": plain(made)}


def _params(declaration: Declaration, request: Mapping[str, Any]) -> Any:
    try:
        return declaration.params.model_validate_json(json.dumps(request["params"]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = ".".join(str(part) for part in first["loc"])
        message = f"{request['operator']} does not take its option {option}: {first['msg']}"
        key = f"quantization.options.{option}"
        raise RecipeError(Diagnostic("X316", message, help="see the operator's parameter model", key=key)) from None


def _are_texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


def _are_unmet(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(unmet, Unmet) for unmet in value)


# What each question must be answered with.
_IS: Mapping[str, Callable[[Any], bool]] = {
    "requires": _are_unmet,
    "predict": lambda value: isinstance(value, Prediction),
    "loads": _are_texts,
    "idle": lambda value: isinstance(value, bool),
    "model_after": lambda value: isinstance(value, ModelFacts),
}
_DUE = {
    "requires": "a tuple of titrant.Unmet(cause, remedy), () where nothing is unmet",
    "predict": "titrant.Prediction(seconds=…, peak_bytes=…, output_bytes=…)",
    "loads": "a tuple of names of modules",
    "idle": "True where it would give the model back as it is, else False",
    "model_after": "the facts that it was given, with what changed replaced",
}
