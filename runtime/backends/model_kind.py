"""A kind of model: how it is kept, converted, released and loaded, and what running one costs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from titrant.runtime.backends.stamp import Stamp
from titrant.schema.facts import ModelFacts
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class Preparation:
    """An operator worth running before a model is converted to a kind; its step is called `<candidate>.<name>`."""

    operator: str
    name: str
    because: str


@dataclass(frozen=True)
class CodeNamed:
    """Which code a file names: the factory `module:name` with its arguments, and operators that changed the module."""

    factory: str
    args: Mapping[str, Any]
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileLoader:
    """How files of a kind are taken as they are that were made elsewhere or before, and what is known of them.

    The file that people name ends in `ending`. `files` gives it and those beside it, there or not, by the parameter of
    `operator`, which loads them; `facts` describes them by those parameters, in plain values, in the worker. None: what
    the kind loads is a live module, and is described as one.
    """

    operator: str
    ending: str
    files: Callable[[Path], Mapping[str, Path]]
    facts: Callable[[Mapping[str, Any]], ModelFacts] | None = None
    # Of files that say which of the user's code builds them: that, without importing anything; None where one does not.
    code: Callable[[Path], CodeNamed | None] | None = None


@dataclass(frozen=True)
class ModelKind:
    """A kind of artifact that is a model, and how it is kept.

    `title` and `label` are what messages call one of it and its form: "an ONNX file", "ONNX". `save(value, folder)`
    writes fixed file names with bytes that follow from the value alone; a value has its kind as its attribute `kind`,
    and one that is a file has its `path`. `load` is given the file where `file` names the only one, else the folder.
    """

    name: str
    title: str
    label: str
    save: Callable[[Any, Path], None]
    load: Callable[[Path], Any]
    file: str = ""  # the fixed name of the one file that holds it; "" where there are several
    tensors: Callable[[Path], Iterable[tuple[str, Any]]] | None = None  # the arrays of one of its files, to compare
    # Of a value that refers to no file: itself, just saved, as loading would give it. Others are loaded again.
    as_loaded: Callable[[Any], Any] | None = None
    format: str = ""  # what `export` calls it; "" for what cannot be released as a file
    converts: Mapping[str, str] = field(default_factory=dict)  # kind → the operator that makes this one of it
    preparations: tuple[Preparation, ...] = ()  # what pays before this kind is made of another
    is_graph: bool = False  # an exported graph, whose layers are nodes, rather than somebody's modules
    sources: tuple[str, ...] = ()  # keys of `model` that give an original of this kind
    user_code: bool = False  # loading it runs the user's modules
    # Why `auto` makes one only where `export` asks for its format, or the recipe for a method that gives it; "" where
    # it is considered always.
    unasked: str = ""
    snippet: str = ""  # Python that loads the file without titrant, of {file}, {batch}, {output} and {decide}
    columns_snippet: str = ""  # the same for a file that takes raw columns
    outside: str = ""  # the operator that puts a file's weights into another beside it; "" where there is none
    layout: str = ""  # the operator that says how weights lie in memory; "" where there is none
    keeps_layout: bool = False  # weights lie in memory as they did when it was made, also once it is loaded
    # Of a file of weights alone: a live model, copied, with the file's weights in it.
    weights_into: Callable[[Path, Any], Any] | None = None
    weights_for: str = ""  # whose code runs it, where titrant has none: its answers are judged, no time of it is
    stamp: Stamp | None = None  # how a released file says what it was judged by; None: it does not
    loader: FileLoader | None = None  # how such files are judged as they are, where no key of `model` reads them

    @property
    def suffix(self) -> str:
        """The end of the file's name, with its dot; "" where there are several files."""
        return Path(self.file).suffix


# Of an engine that says nothing of its own: about what onnxruntime, OpenVINO and torch have in common.
_PASSES = {
    "view": 0.0, "copy": 0.9, "scattered": 25.0, "elementwise": 0.25, "exponential": 1.0, "normalization": 0.8,
    "reduction": 0.6, "pooling": 0.7, "product": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class RunCost:
    """What running a kind of model in an engine costs, measured; predictions are made of it.

    `*_seconds` are seconds a call, a layer, an operation that is no layer, a step of a GRU or a byte of the file.
    `reached` is the share of the bench's FLOP/s that layers reach, `depthwise` that share of it for depthwise
    convolutions and `batched` for products of computed arrays, as in attention. `passes` and `gpu_passes` count how
    often a layer's output is written or read, `work_passes` how often what operations of a kind read and write is
    moved at the speed of memory: more than once where computing takes longer, 0 where nothing is moved; a kind that is
    left out takes no time at all. `launches` are the kernels of a layer on a GPU, and `held` multiplies a forward
    pass's peak of activations. Opening a live module costs nothing.
    """

    reached: float
    call_seconds: float
    layer_seconds: float
    convolution_seconds: float
    passes: float
    held: float
    launches: float
    gpu_passes: float
    operation_seconds: float = 1.7e-6
    work_passes: Mapping[str, float] = field(default_factory=_PASSES.copy)
    batched: float = 0.8
    depthwise: float = 0.4
    step_seconds: float = 0.0
    open_seconds: float = 0.0
    open_layer_seconds: float = 0.0
    open_byte_seconds: float = 0.0
    open_copies: int = 0  # of the file, in memory, once it is open
    mapped: bool = False  # weights of the original that stand in files beside it are read as they are needed
