"""A way to reduce a model, as its operator declares it: what it takes and makes, where it runs, what it leaves."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from titrant.schema.cost import Arithmetic, Variant
from titrant.schema.facts import Layer
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Repair:
    """What is tried on a method that loses too much, before layers are left in higher precision.

    `name` is what `quantization.repair` calls it; the candidate is called `method.suffix`. It is made with an operator
    `before` the method, on the model that the method is given or on one before that, with other `options` of the
    method, with an operator `after` it on what it made, or with several of these. What is `exact` changes no answer of
    the model that the method is given: all that is tried later is made with it too. `bits` are the widths that it is
    for, () for all. `unasked` says why `auto` leaves it to be named.
    """

    name: str
    suffix: str
    before: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    exact: bool = False
    bits: tuple[int, ...] = ()
    unasked: str = ""


@dataclass(frozen=True)
class Mixing:
    """The operators that find a mixture for a method: the damage of regions, what they take, which to leave alone.

    `estimate` finds the damage of many layers sooner, where there is what its port `module` takes.
    """

    sensitivity: str
    prices: str
    allocate: str
    estimate: str = ""


@dataclass(frozen=True)
class FakeQuantization:
    """The number formats that a network computes with while it is trained for a method: int8, whose ranges are fixed.

    Weights are whole numbers up to `largest_weight`, of either sign, with a scale for each output channel or one for
    all. Activations have 256 levels over the range that calibration rows show, evenly about 0 where they are
    `symmetric_activations`.
    """

    largest_weight: int = 127
    per_channel: bool = True
    symmetric_activations: bool = False


@dataclass(frozen=True)
class LayerOutlook:
    """What a reduction makes of one layer, as far as it is known before it runs: "" where the layer stays as it is."""

    name: str
    becomes: str
    because: str


@dataclass(frozen=True)
class Method:
    """A reduction that `quantization.method`, or a part of `reduction`, can name.

    `takes` is the kind that its `model` port needs, `engine` and `format` what its `model` output runs in and is
    exported as, `bits` the widths it offers; a quantization states all three, what only makes the network smaller
    none. `rank` is its place from gentle (0, no change) to aggressive. `devices` are those that its kernels run on,
    none where they run wherever the engine does. `arithmetic` says what it does to the cost of a forward pass; where
    it is None what follows is predicted as in fp32, and called a guess. `layers` are the types of layers whose weights
    it changes, as torch modules and ONNX nodes are called, and `named` is what people call those; without `layers` the
    operator's `requires` is asked about each layer alone. `leaves` says why a method leaves a layer of those types in
    fp32, "" where it does not. `precision` answers in which number format its layers shall run, by its parameters; by
    default that of its bits. Of the layers for which `chooses` is true it asks nothing: the engine chooses. `variants`
    are offered beside its defaults. `then` is a method that follows at once, with the options that it has too;
    `by_name` says why `auto` leaves it to be named. Where it loses too much, `repairs` are tried one after the other,
    and then mixtures of its precision and a higher one over regions of the network, found as `mixing` says.
    `fake_quantization` answers by its parameters how a network is trained for it beforehand; without it none can be.
    """

    name: str
    takes: str
    engine: str = ""
    format: str = ""
    bits: tuple[int, ...] = ()
    rank: int = 0
    calibrated: bool = False
    dynamic_activations: bool = False
    layers: tuple[str, ...] = ()
    named: str = ""
    devices: tuple[str, ...] = ()
    arithmetic: Arithmetic | None = None
    leaves: Callable[[Layer], str] | None = None
    then: str = ""
    by_name: str = ""
    precision: Callable[[Any], str] | None = None
    chooses: Callable[[Layer], bool] | None = None
    variants: tuple[Variant, ...] = ()
    repairs: tuple[Repair, ...] = ()
    mixing: Mixing | None = None
    fake_quantization: Callable[[Any], FakeQuantization] | None = None

    def runs_on(self, device: str) -> bool:
        """Whether there are kernels for a device (cpu, cuda:1)."""
        return not self.devices or device.partition(":")[0] in self.devices
