"""Go over every option of every quantization method on four small networks, one value at a time.

    python benchmarks/quantization/options.py [--methods NAME …] [--nets NAME …] [--compiled] [--home FOLDER]

The options are read from the catalog: both values of a flag, every name of a list, both ends of a range. Each is
planned as a recipe would be, and is either refused there, with a reason, or made: then its file has the size that was
predicted (within 3 % or 16 KiB) and every layer runs in the precision that was planned. Nothing is timed or judged.
--compiled also takes methods that compile, which is a minute each. Prints a line a case; exits 1 where one is amiss.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import option_nets

from titrant.runtime import catalog
from titrant.schema.values.frozen import dataclass

SHARE, BYTES = 0.03, 16 << 10
# Ends of ranges that are open: a little inside, and far out.
_INSIDE, _FAR = 0.1, 10_000
_COMPILED = "aoti"
RECIPE = """\
titrant: 1
name: {net}
task: multiclass_classification
model: {{factory: "option_nets:{net}", weights: {folder}/{net}.pt}}
data:
  source: {{factory: "option_nets:rows", args: {{net: {net}}}}}
  inputs: [x]
  label: label
  split: {{tuning: 0.4, calibration: 0.3, evaluation: 0.3}}
quantization: {{method: {method}, bits: {bits}, options: {options}}}
validation: {{baseline: none}}
"""


@dataclass(frozen=True)
class Case:
    """One method on one network, with the options that differ from the defaults."""

    net: str
    method: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.net:12} {self.method:26} {json.dumps(dict(self.options)) if self.options else 'defaults'}"


@dataclass(frozen=True)
class Outcome:
    """What became of a case: refused (why), or made: bytes, bytes predicted, layers and those unlike planned."""

    refused: str = ""
    size: int = 0
    predicted: int = 0
    layers: int = 0
    unlike: tuple[str, ...] = ()
    broke: str = ""

    @property
    def amiss(self) -> str:
        """Say what is wrong; "" where nothing is."""
        if self.broke or self.refused:
            return self.broke
        off = abs(self.size - self.predicted)
        wrong = [f"{self.size:,} bytes, {self.predicted:,} predicted"] * (off > max(BYTES, SHARE * self.size))
        return "; ".join([*wrong, *self.unlike])


def values_of(name: str, field: Any) -> Iterator[Any]:
    """Yield the values of one parameter that are tried: every one of few, else the ends of its range."""
    for annotation in get_args(field.annotation) or (field.annotation,):
        if get_origin(field.annotation) is Literal:
            yield annotation
        elif annotation is bool:
            yield from (True, False)
        elif get_origin(annotation) is Literal:
            yield from get_args(annotation)
        else:
            numbers = get_args(annotation) or (annotation,)
            metadata = [*field.metadata, *(item for part in numbers[1:] for item in getattr(part, "metadata", ()))]
            if numbers[0] in (int, float):
                yield from _ends(numbers[0], metadata, field.default)


def _ends(kind: type, metadata: list[Any], default: Any) -> Iterator[Any]:
    limits = {
        name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)
    }
    low = limits.get("ge", limits["gt"] + _INSIDE if "gt" in limits else None)
    high = limits.get("le", limits["lt"] - _INSIDE if "lt" in limits else _FAR if low is not None else None)
    yield from (kind(end) for end in (low, high) if end is not None and end != default)
    if kind is int and default and low is None:
        yield from (default // 2, 3 * default)


def cases(methods: list[str], nets: list[str]) -> Iterator[Case]:
    """Yield each method with its defaults, then with one option changed at a time, on each network."""
    for method in methods:
        declared = catalog.get(catalog.method_operator(method))
        fields, widths = declared.params.model_fields, declared.method.bits if declared.method else ()
        for net in nets:
            yield Case(net, method, {})
            for name, field in fields.items():
                if name != catalog.LEAVE:
                    for value in widths if name == "bits" else values_of(name, field):
                        if value != field.default:
                            yield Case(net, method, {name: value})


class Bench:
    """Plans cases and runs their steps in this process; what cases have in common is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Any] = {}

    def outcome(self, case: Case) -> Outcome:
        """Plan a case and make its file, or say why it is refused."""
        import titrant
        from titrant.schema.diagnostics.diagnostics import PreconditionError, TitrantError

        options = {name: value for name, value in case.options.items() if name != "bits"}
        filled = {"bits": case.options.get("bits", "auto"), "options": json.dumps(options), "folder": self._folder}
        text = RECIPE.format(net=case.net, method=case.method, **filled)
        path = self._folder / "recipe.yaml"
        path.write_text(text, "utf-8")
        try:
            planned = titrant.plan(titrant.read(path), trust=True)
        except TitrantError as error:
            said = [item for item in error.diagnostics if item.help]
            return Outcome(refused=str(error)) if said else Outcome(broke=f"refused without advice: {error}")
        candidate = next(item for item in planned.plan.candidates if item.method == case.method)
        try:
            value = self._value(planned.plan, candidate.model)
            executed = self._value(planned.plan, candidate.executed)
        except PreconditionError as error:
            return Outcome(broke=f"planned, then refused: {error}")
        except TitrantError as error:
            return Outcome(broke=f"planned, then failed: {error}")
        layers = executed["layers"]
        unlike = tuple(
            f"{layer['name']} {layer['planned']} → {layer['executed']}"
            for layer in layers
            if layer["planned"] not in ("engine's choice", layer["executed"])
        )
        return Outcome("", _bytes(value), candidate.predicted_bytes or 0, len(layers), unlike)

    def _value(self, plan: Any, reference: str) -> Any:
        from titrant.runtime.api import apply

        identifier, _, port = reference.rpartition(".")
        step = next(item for item in plan.steps if item.id == identifier)
        inputs = {name: self._inputs(plan, given) for name, given in step.inputs.items()}
        about = json.dumps([step.operator, step.params], sort_keys=True, default=str)
        key = f"{about}{sorted((name, id(value)) for name, value in inputs.items())}"
        if key not in self._made:
            scratch = Path(tempfile.mkdtemp(dir=self._folder))
            self._made[key] = inputs, apply(step.operator, inputs, _params(step), scratch=scratch).outputs
        return self._made[key][1][port]

    def _inputs(self, plan: Any, given: Any) -> Any:
        return (
            self._value(plan, given) if isinstance(given, str) else {n: self._value(plan, r) for n, r in given.items()}
        )


def _params(step: Any) -> Any:
    return catalog.full_params(catalog.get(step.operator).params, step.params)


def _bytes(value: Any) -> int:
    """Return what a released file takes: a file and what is beside it, or a module as it is kept."""
    from titrant.runtime.backends import backend

    with tempfile.TemporaryDirectory() as folder:
        backend.kinds()[value.kind].save(value, Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main() -> int:
    """Run the cases; 1 where one is amiss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=[])
    parser.add_argument("--nets", nargs="+", default=list(option_nets.NETS))
    parser.add_argument("--compiled", action="store_true", help="methods that compile, too")
    options = parser.parse_args()
    methods = options.methods or [
        name
        for name in catalog.quantization_methods()
        if options.compiled or catalog.get(catalog.method_operator(name)).method.format != _COMPILED  # type: ignore[union-attr]
    ]
    amiss = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        option_nets.write(folder)
        bench = Bench(folder)
        for case in cases(methods, options.nets):
            outcome = bench.outcome(case)
            said = (
                f"refused: {outcome.refused}" if outcome.refused else f"{outcome.size:,} bytes, {outcome.layers} layers"
            )
            amiss += bool(outcome.amiss)
            print(f"{'AMISS' if outcome.amiss else 'ok':5} {case}: {outcome.amiss or said}", flush=True)
    print(f"{amiss} amiss")
    return int(amiss > 0)


if __name__ == "__main__":
    sys.exit(main())
