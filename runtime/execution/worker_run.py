"""The worker's work: run a step on stored values, inspect a recipe's model and data, describe a user's operator."""

import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from titrant.runtime import catalog
from titrant.runtime.catalog import Declaration
from titrant.runtime.execution.declarations import describe
from titrant.runtime.execution.foresee import foresee, foretells
from titrant.runtime.execution.home import Home
from titrant.runtime.execution.live import LiveValues
from titrant.runtime.execution.loading import load
from titrant.runtime.execution.peak_memory import PeakMemory
from titrant.runtime.execution.rerun.tensor_difference import stored_difference
from titrant.runtime.execution.seeding import Seeding, Settings
from titrant.runtime.execution.step_context import StepContext
from titrant.runtime.execution.store import Store
from titrant.runtime.execution.user_code import innermost_line
from titrant.runtime.execution.user_watch import UserWatch
from titrant.schema.artifact import Artifact
from titrant.schema.canonical import plain, sha256
from titrant.schema.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.record import Dependency

Send = Callable[[Mapping[str, Any]], None]


class Bench:
    """What the worker has at hand from one request to the next."""

    def __init__(  # noqa: PLR0917
        self, home: Home, folder: Path, scratch: Path, watch: UserWatch, seeding: Seeding, send: Send
    ) -> None:
        self.home = home
        self._folder = folder
        self._scratch = scratch
        self._watch = watch
        self._send = send
        self._store = Store(home)
        self._live = LiveValues(self._store, scratch / "live")
        self._depends: tuple[Dependency, ...] = ()
        self._seeding = seeding
        self._seeding.install()

    def do(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a request; one that does not say what to do is an inspection."""
        work = {
            "run": self._run, "inspect": self._inspect, "describe": self._describe, "compare": self._compare,
            "foresee": self._foresee,
        }[request.get("do", "inspect")]  # fmt: skip
        self._depends = ()
        return work(request)

    def dependencies(self) -> list[dict[str, str]]:
        """Return what of the user's the last request depended on, as far as it got."""
        listed: list[dict[str, str]] = plain(self._depends)
        return listed

    def user_place(self, error: BaseException) -> str:
        """Return "file:line" of the innermost line of the user's code that an exception came through, or ""."""
        return innermost_line(error, self._watch.user_file)

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        scratch = Path(tempfile.mkdtemp(dir=self._scratch))
        carried: set[str] = set()
        try:
            with self._watch.watching(request["params"]):
                declaration = _declaration(request["operator"])
                try:
                    params = declaration.params.model_validate_json(json.dumps(request["params"]))
                    loaded = self._load(declaration.loads(params))
                    memory, begun = PeakMemory(), time.perf_counter()
                    self._seeding.apply(_settings(request, declaration))
                    inputs = self._inputs(request["inputs"], declaration, carried)
                    context = StepContext(request["seed"], request["threads"], scratch, self._send)
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
        return {
            "outputs": plain(outputs),
            "measurements": plain(list(context.measurements.values())),
            "seconds": time.perf_counter() - begun,
            "peak_bytes": memory.grown_bytes(),
            "loads": loaded,
            "dependencies": self.dependencies(),
            "not_reused": context.not_reused,
        }

    def _load(self, modules: tuple[str, ...]) -> dict[str, float]:
        """Load libraries before the clock of the step runs; telling the user's modules from theirs is part of it."""
        loaded = load(modules)
        if loaded:
            begun = time.perf_counter()
            self._watch.roots()
            loaded[max(loaded, key=lambda module: loaded[module])] += time.perf_counter() - begun
        return loaded

    def _inspect(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what `titrant.runtime.inspection.inspect` finds; paths of dependencies are absolute."""
        asked = {key: value for key, value in request.items() if key not in ("do", "log")}
        self._seeding.apply(Settings(int(request.get("seed", 0)), 1, True))
        with self._watch.watching(asked):
            answer = dict(importlib.import_module("titrant.runtime.inspection").inspect(asked))
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
            found = _declaration(name)
        declared = {
            "family": found.family,
            "inputs": plain(found.inputs),
            "consumes": list(found.consumes),
            "doc": found.doc,
            "method": plain(found.method),
            "user_code": found.user_code,
            "costless": list(found.costless),
            "parameters": found.params.model_json_schema(),
            "foretells": foretells(found),
        }
        dependencies = self._watch.dependencies({"operator": name})
        return {"operator": plain(describe(name)), "declared": declared, "dependencies": plain(dependencies)}

    def _foresee(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with what a user's operator needs, or would cost."""
        with self._watch.watching():
            return foresee(_declaration(request["operator"]), request)

    def _compare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer with how far apart the artifacts of each pair are."""
        found = []
        for old, new in request["pairs"]:
            scratch = Path(tempfile.mkdtemp(dir=self._scratch))
            found.append(plain(stored_difference(self._store, Artifact(**old), Artifact(**new), scratch)))
            shutil.rmtree(scratch, ignore_errors=True)
        return {"differences": found}

    def _inputs(self, given: Mapping[str, Any], declaration: Declaration, carried: set[str]) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        for port, source in given.items():
            if declaration.inputs[port].many:
                inputs[port] = {name: self._input(Artifact(**item), carried) for name, item in source.items()}
            else:
                inputs[port] = self._input(Artifact(**source), carried)
        return inputs

    def _input(self, artifact: Artifact, carried: set[str]) -> Any:
        live = self._live.find(artifact)
        if live is None:
            before = self._watch.roots()
            value = self._live.load(artifact)
            modules = self._watch.roots() - before if artifact.kind == "torch" else frozenset()
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
            modules = self._watch.roots() | carried if artifact.kind == "torch" else frozenset()
            self._live.keep(artifact, values[port], frozenset(modules))
        return outputs


def _declaration(name: str) -> Declaration:
    try:
        return catalog.get(name)
    except KeyError:
        raise RecipeError(Diagnostic("X314", f"there is no operator {name}")) from None
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            Diagnostic(
                "X314",
                f"the operator {name} cannot be loaded: {error}",
                help="write module:name of a function that @operator declares, in the recipe's folder or installed",
            )
        ) from None


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
