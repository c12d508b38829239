"""Fit a model's recurrent state, and the steps of its cases, to the data: by name, shape and dtype."""

from collections.abc import Sequence

from titrant.runtime.data.parameters import StateParams
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import RecurrentState, TensorSpec
from titrant.schema.language.nearest import nearest
from titrant.schema.recurrent import Steps, common_count, steps_of, whole_lengths

_KEY = "model.state"


def described_state(
    params: StateParams, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], steps: int
) -> RecurrentState:
    """Check that every output of the state is an output, and fits the input that it is fed to; return the state.

    `inputs` and `outputs` are all of the model's. Raises RecipeError X166.
    """
    given, answered = ({spec.name: spec for spec in specs} for specs in (inputs, outputs))
    for output, target in params.feeds.items():
        check_name(output, list(answered), "output", f"{_KEY}.{output}")
        check_name(target, list(given), "input", f"{_KEY} {target}")
        _fits(answered[output], given[target])
    if len(set(params.feeds.values())) < len(params.feeds):
        raise _refused("two outputs are fed to one input", "give each input of the state one output", _KEY)
    if not set(answered) - set(params.feeds):
        advice = "leave the output that answers out of `model.state`"
        raise _refused("every output of the model is state: nothing is left to judge", advice, _KEY)
    zeros = tuple(_with_batch(given[target]) for target in params.feeds.values())
    return RecurrentState(tuple(params.feeds.items()), params.answer, zeros, steps, tuple(answered))


def check_name(name: str, names: Sequence[str], sort: str, key: str) -> None:
    """Raise RecipeError X166 where the model has no such input or output (`sort`); `key` is the recipe's."""
    if name not in names:
        near = nearest(name, list(names))
        there = f"it has {', '.join(names)}"
        raise _refused(f"the model has no {sort} `{name}`", f"did you mean `{near}`? {there}" if near else there, key)


def _fits(output: TensorSpec, target: TensorSpec) -> None:
    """Raise RecipeError X166 where what comes out cannot go in; a size that one of both leaves free fits."""
    pairs = zip(output.shape, target.shape, strict=False)
    sizes = all(isinstance(a, str) or isinstance(b, str) or a == b for a, b in pairs)
    if output.dtype == target.dtype and (not output.shape or (len(output.shape) == len(target.shape) and sizes)):
        return
    message = f"the output `{output.name}` is {_form(output)}, and the input `{target.name}` takes {_form(target)}"
    raise _refused(message, "feed an output of the input's shape: output → input", f"{_KEY}.{output.name}")


def _with_batch(spec: TensorSpec) -> TensorSpec:
    """Call the one free size the batch; RecipeError X166 where several are free."""
    from titrant.schema.language.write import flow

    free = [size for size in spec.shape if isinstance(size, str)]
    if len(free) > 1:
        shape: list[int | str] = list(spec.shape)
        line = flow({"name": spec.name, "shape": shape, "dtype": spec.dtype})
        advice = f"only the batch may be free: write the others as numbers in model.inputs, as in {line}"
        raise _refused(f"the state `{spec.name}` is {_form(spec)}, of which {len(free)} sizes are free", advice, _KEY)
    return TensorSpec(spec.name, tuple("batch" if isinstance(size, str) else size for size in spec.shape), spec.dtype)


def one_step(specs: Sequence[TensorSpec], data: Sequence[TensorSpec]) -> tuple[tuple[TensorSpec, ...], int]:
    """Return the inputs with the sizes of one step, and how many steps a case of the data holds.

    Raises RecipeError X167 where a case is not made of whole steps, equally many in every input, or of one alone.
    """
    given = {spec.name: spec for spec in data}
    parts: dict[str, Steps] = {}
    for spec in specs:
        offer = given.get(spec.name)
        if offer is None:
            message = f"the model takes `{spec.name}`, and the data gives {', '.join(given) or 'nothing'}"
            raise RecipeError(Diagnostic("X167", message, help="name it in `data.inputs`", key="model.inputs"))
        steps = steps_of(spec.shape, offer.shape) if spec.shape else Steps(0, ())
        if steps is None or spec.dtype != offer.dtype:
            raise _unfit(spec, offer)
        parts[spec.name] = steps
    count = common_count(parts.values())
    if count is None:
        differing = ", ".join(f"`{name}` {part.count}" for name, part in parts.items() if part.count)
        message, advice = f"the inputs of a case differ in their steps: {differing}", "give all of them equally many"
        raise RecipeError(Diagnostic("X167", message, help=advice, key="model.inputs"))
    sized = tuple(TensorSpec(spec.name, parts[spec.name].shape, spec.dtype) for spec in specs)
    if count == 1:
        raise _alone(sized)
    return sized, count


def _unfit(spec: TensorSpec, offer: TensorSpec) -> RecipeError:
    message = f"a step of `{spec.name}` is {_form(spec)}, and a case of the data is {_form(offer)}"
    lengths = whole_lengths(spec.shape, offer.shape)
    advice = "give the data an axis of steps after the batch"
    if lengths:
        advice += f", or a multiple of {spec.shape[1]}: {' or '.join(map(str, lengths))}"
    return RecipeError(Diagnostic("X167", message, help=advice, key="model.inputs"))


def _alone(specs: Sequence[TensorSpec]) -> RecipeError:
    from titrant.schema.language.write import flow

    stepped = next((spec for spec in specs if len(spec.shape) > 1), specs[0])
    message = f"a case is one step, of `{stepped.name}` {_form(stepped)}: the state would never be fed back"
    line = flow({"name": stepped.name, "shape": ["batch", "…", *stepped.shape[2:]], "dtype": stepped.dtype})
    advice = f"write the size of one step in model.inputs, as in {line}, or give the data an axis of steps"
    return RecipeError(Diagnostic("X167", message, help=advice, key="model.state"))


def _form(spec: TensorSpec) -> str:
    return f"({', '.join(map(str, spec.shape))}) {spec.dtype}"


def _refused(message: str, advice: str, key: str) -> RecipeError:
    return RecipeError(Diagnostic("X166", message, help=advice, key=key))


def answers_of(outputs: Sequence[TensorSpec], state: RecurrentState) -> tuple[TensorSpec, ...]:
    """Return what a case answers with: the outputs that are no state, with an axis of steps where all are kept."""
    kept = [spec for spec in outputs if spec.name not in dict(state.feeds)]
    if state.answer == "last":
        return tuple(kept)
    return tuple(TensorSpec(spec.name, (*spec.shape[:1], state.steps, *spec.shape[1:]), spec.dtype) for spec in kept)
