"""What a method makes of each layer: which it takes, which it leaves, and why."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from titrant.compiler.bind.check_model import matches
from titrant.runtime.backends import backend
from titrant.runtime.catalog import LEAVE, Declaration, no_requirement
from titrant.schema.cost import Unmet
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.recipe.reduce import Quantization

RECURRENT = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
NO_WEIGHTS = "it has no weights"
UNREAD = "the forward pass does not read its weights: an exported file leaves them out"
UNSAID = "a user's operator that declares no `requires` does not say before it runs"
OWN = "what becomes of its own weights is known after export"
_SINGLE = "float32"
_OTHER_FLOATS = ("float16", "bfloat16", "float64")
# So many layers are named, of those that a recipe leaves out.
_NAMED = 5
# All that an operator may look at in a layer but its name.
_kind = attrgetter(*(field.name for field in fields(Layer) if field.name != "name"))


def left_because(
    declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, quantization: Quantization
) -> tuple[str, ...]:
    """Say for each layer of a model, in order, why a method leaves it as it is; "" where the method takes it.

    A method takes the types of layers that it declares, in fp32; weights that a module of the user's own holds may be
    multiplied in the exported file, or not. One that declares none takes what its operator would take as a
    model of that layer alone: its own `requires` is asked, once for layers that differ in nothing but the name, and
    answers in its own words. What it says against any model, such as a library that is missing, is against no layer.
    """
    objection = _objection(declaration, params, hardware, model)
    objections: dict[object, str] = {}
    reasons = []
    for layer in model.layers:
        because = left_out(layer.name, quantization) if layer.has_weights else NO_WEIGHTS
        because = because or (UNREAD if layer.unread else "")
        if not because:
            kind = _kind(layer)
            if kind not in objections:
                objections[kind] = objection(layer)
            because = objections[kind]
        reasons.append(because)
    return tuple(reasons)


def left_out(name: str, quantization: Quantization) -> str:
    """Say which of the recipe's patterns keeps a layer as it is; "" where none does."""
    skipping = next((pattern for pattern in quantization.skip if matches(name, pattern)), None)
    if skipping is not None:
        return f"quantization.skip has {skipping}"
    if quantization.only and not any(matches(name, pattern) for pattern in quantization.only):
        return "quantization.only does not name it"
    return ""


def _objection(declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts) -> Callable[[Layer], str]:
    """Return what answers with a method's own objection to a layer, "" where it has none."""
    method = declaration.method
    if method is not None and method.layers:
        others = f"{method.name} quantizes {method.named or ', '.join(method.layers)} only"
        exported = method.takes in backend.kinds() and backend.kinds()[method.takes].is_graph and not model.is_graph

        def declared(layer: Layer) -> str:
            if layer.type in method.layers:
                if layer.dtype not in ("", "float32"):
                    return f"its weights are {layer.dtype}, and {method.name} quantizes float32"
                return method.leaves(layer) if method.leaves is not None else ""
            return OWN if exported and layer.custom else others

        return declared
    if ":" in declaration.name and declaration.requires is no_requirement:
        return lambda _: UNSAID
    general = declaration.requires(params, hardware, None)

    def asked(layer: Layer) -> str:
        alone = declaration.requires(params, hardware, replace(model, layers=(layer,)))
        return next((str(unmet) for unmet in alone if unmet not in general), "")

    return asked


def left_alone(
    declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, quantization: Quantization
) -> tuple[str, ...]:
    """Name the layers that a method would quantize, or may, and that `skip` and `only` keep as they are."""
    without = quantization.model_copy(update={"skip": (), "only": ()})
    because = left_because(declaration, params, hardware, model, without)
    return tuple(
        layer.name
        for layer, reason in zip(model.layers, because, strict=True)
        if reason in ("", OWN, UNSAID) and left_out(layer.name, quantization)
    )


def objections(
    declaration: Declaration, params: Any, hardware: Hardware, model: ModelFacts, quantization: Quantization
) -> tuple[Unmet, ...]:
    """Return what speaks against a method on a model without the layers that it is to leave.

    Where it would find layers if none were left out, or if their weights were fp32, that is said in place of its own
    words, which are about types of layers.
    """
    unmet = declaration.requires(params, hardware, without(model, params))
    bare = params.model_copy(update={LEAVE: ()}) if getattr(params, LEAVE, ()) else params
    of_every_layer = declaration.requires(bare, hardware, model) if unmet else ()
    if len(of_every_layer) < len(unmet) and (names := left_alone(declaration, bare, hardware, model, quantization)):
        keys = tuple(key for key in ("only", "skip") if getattr(quantization, key))
        written = " and ".join(f"quantization.{key}" for key in keys)
        cause = f"{written} {'leaves' if len(keys) == 1 else 'leave'} nothing to quantize"
        remedy = f"leave it some of the layers that it would quantize: {_few(names)}"
        return (*_both(unmet, of_every_layer), Unmet(cause, remedy, at=("quantization", keys[0])))
    wide = tuple(replace(layer, dtype=_SINGLE) if layer.dtype in _OTHER_FLOATS else layer for layer in model.layers)
    if of_every_layer and wide != model.layers:
        of_single = declaration.requires(bare, hardware, replace(model, layers=wide))
        if len(of_single) < len(of_every_layer):
            dtypes = " and ".join(dict.fromkeys(layer.dtype for layer in model.layers if layer.dtype in _OTHER_FLOATS))
            name = declaration.name if declaration.method is None else declaration.method.name
            cause = f"the weights are {dtypes}, and {name} quantizes {_SINGLE}"
            return (*_both(unmet, of_single), Unmet(cause, f"give it the model with {_SINGLE} weights"))
    return unmet


def _both(unmet: Sequence[Unmet], others: Sequence[Unmet]) -> tuple[Unmet, ...]:
    return tuple(each for each in unmet if each in others)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def without(model: ModelFacts, params: Any) -> ModelFacts:
    """Return the facts of what a method sees of a model: the layers that it is told to leave are none of its own."""
    names = frozenset(getattr(params, LEAVE, ()))
    if not names:
        return model
    layers = tuple(
        replace(layer, type=f"{layer.type}, left") if layer.name in names else layer for layer in model.layers
    )
    return replace(model, layers=layers)
