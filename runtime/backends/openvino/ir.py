"""Keep models as OpenVINO IR: `model.xml` and `model.bin`, whose bytes follow from the model alone."""

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape, unescape

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.openvino.names import FUSED, free, with_bodies
from titrant.runtime.backends.stamp import KEY, Piece
from titrant.schema.values.frozen import dataclass

if TYPE_CHECKING:
    import openvino

    from titrant.runtime.values import Recurrence

NAME, WEIGHTS = "model.xml", "model.bin"
Precision = Literal["f32", "bf16"]
# Where OpenVINO itself, other engines of its maker's and the shown code look for the precision of a file.
PRECISION_KEY = ("runtime_options", "INFERENCE_PRECISION_HINT")
_ABOUT_KEY = ("titrant", "about")
_INPUT, _CONSTANT = "Parameter", "Constant"
_OPENING = b"<?xml"
# A graph from elsewhere may have no facts, or an empty element for them.
_END = re.compile(rb"(</rt_info>|<rt_info\s*/>)?\s*</net>\s*$")
# Values have no quotes and no brackets of their own: they are written as entities.
_ELEMENT = re.compile(rb"<" + re.escape(KEY).encode() + rb' value="([^"]*)" ?/>')
_AS_ENTITIES = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}


@dataclass(frozen=True)
class IrModel:
    """A folder with a graph (`model.xml`) and its weights (`model.bin`)."""

    folder: Path
    kind = "ir"

    @property
    def path(self) -> Path:
        """The graph's file, by which OpenVINO finds the weights."""
        return self.folder / NAME


@dataclass(frozen=True)
class About:
    """What is kept of a model in its graph: the outputs in their order, weights that name layers, recurrent state.

    `weights` are those of `titrant.runtime.backends.openvino.names.telling_weights`.
    """

    outputs: tuple[str, ...]
    weights: Mapping[str, str] = field(default_factory=dict)
    recurrence: "Recurrence | None" = None


def read(model: Any) -> "openvino.Model":
    """Read an IrModel's graph; StepError X212 where OpenVINO cannot."""
    return read_file(model.path, model.path.with_name(WEIGHTS))


def read_file(file: Path, weights: Path) -> "openvino.Model":
    """Read a graph whose weights stand in another file; StepError X212 where OpenVINO cannot."""
    from titrant.runtime.backends.openvino import library

    for part in (file, weights):
        if not part.is_file():
            raise library.unloadable(file.name, f"{part.name} is not there")
    # Of what is no XML it would ask each of its readers, which print what they make of it.
    if file.read_bytes()[: len(_OPENING)] != _OPENING:
        raise library.unloadable(file.name, "it is no XML")
    try:
        return library.read_graph(file)
    except RuntimeError as error:
        raise library.unloadable(file.name, library.reason(error)) from None


def write(
    graph: "openvino.Model", folder: Path, *, precision: Precision, about: About, nodes: Collection[str] = ()
) -> IrModel:
    """Write a graph with fixed names and bytes: no paths, versions, options or counters of the process.

    Operations that are called as one of the ONNX file's `nodes` keep their names.
    """
    from titrant.runtime.backends.openvino.library import write_graph

    for part in with_bodies(graph):
        _name_operations(part, nodes)
    _name_tensors(graph, about.outputs)
    for key in list(graph.get_rt_info()):
        del graph.get_rt_info()[key]
    kept = {"outputs": about.outputs, "weights": about.weights}
    if about.recurrence is not None:
        kept |= {"state": recurrent.written(about.recurrence)}
    graph.set_rt_info(json.dumps(kept, sort_keys=True), list(_ABOUT_KEY))
    graph.set_rt_info(precision, list(PRECISION_KEY))
    folder.mkdir(parents=True, exist_ok=True)
    write_graph(graph, folder / NAME, folder / WEIGHTS)
    _without_indents(folder / NAME)
    return IrModel(folder)


def _name_operations(graph: "openvino.Model", nodes: Collection[str]) -> None:
    """Name by their place what OpenVINO and NNCF named: by a counter of the process, or at length.

    Bytes would depend on what ran before. What was fused into an operation is noted by such names too, and goes.
    """
    kept = set(nodes)
    for place, operation in enumerate(graph.get_ordered_ops()):
        if FUSED in operation.get_rt_info():
            del operation.get_rt_info()[FUSED]
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        counted = name == operation.get_name() or name.removeprefix(f"{kind}_").isdigit()
        if kind == _CONSTANT:
            operation.set_friendly_name(f"{kind}_{place}")
        elif counted and kind != _INPUT and name not in kept:
            operation.set_friendly_name(free(f"{kind}_{place}", nodes))
        kept.discard(name)


def _name_tensors(graph: "openvino.Model", outputs: tuple[str, ...]) -> None:
    """Leave a name to inputs and outputs alone, and one each: an operation may have passed one on unchanged."""
    kept = {*input_names(graph), *outputs}
    for operation in graph.get_ordered_ops():
        for port in operation.outputs():
            port.get_tensor().set_names({name for name in port.get_names() if name in kept})


def _without_indents(file: Path) -> None:
    """Take out what only people need of a graph's text: a fifth of it."""
    file.write_bytes(b"".join(line.strip() for line in file.read_bytes().splitlines()))


def about(graph: "openvino.Model") -> About:
    """Return what `write` kept; of a file from elsewhere the outputs alone."""
    if not graph.has_rt_info(list(_ABOUT_KEY)):
        named = (output.get_any_name() if output.get_names() else "" for output in graph.outputs)
        return About(tuple(name or f"output_{place}" for place, name in enumerate(named)))
    kept = json.loads(graph.get_rt_info(list(_ABOUT_KEY)).astype(str))
    return About(tuple(kept["outputs"]), kept.get("weights", {}), recurrent.read(kept.get("state")))


def input_names(graph: "openvino.Model") -> tuple[str, ...]:
    """Return the names of the inputs, in their order."""
    return tuple(parameter.get_friendly_name() for parameter in graph.get_parameters())


def precision_of(graph: "openvino.Model") -> str:
    """Return the precision in which a file is to be run: f32 where it says nothing."""
    if not graph.has_rt_info(list(PRECISION_KEY)):
        return "f32"
    hint: str = graph.get_rt_info(list(PRECISION_KEY)).astype(str)
    return hint


def save_ir(value: IrModel, folder: Path) -> None:
    """Copy graph and weights into a folder under their fixed names."""
    if value.folder != folder:
        for name in (NAME, WEIGHTS):
            shutil.copyfile(value.folder / name, folder / name)


def tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the constants of a graph's file by name, unpacked; the file of weights alone has no names."""
    if file.name != NAME:
        return
    for operation in read(IrModel(file.parent)).get_ordered_ops():
        if operation.get_type_name() == "Constant":
            yield operation.get_friendly_name(), operation.get_data()


def stamp_pieces(file: Path, text: str) -> Sequence[Piece]:
    """Return the graph with the facts of a release as the last of its own, instead of earlier; else ValueError.

    They come back as `model.get_rt_info("titrant.release")`.
    """
    written = file.read_bytes()
    end = _END.search(written)
    if end is None:
        raise ValueError(f"{file.name} is no graph")
    cuts = [element.span() for element in _ELEMENT.finditer(written)]
    starts, ends = [0, *(after for _, after in cuts)], [*(before for before, _ in cuts), end.start()]
    element = f'<{KEY} value="{escape(text, _AS_ENTITIES)}" />'.encode()
    after = end.start()
    if end[1] is None or b"/>" in end[1]:
        element, after = b"<rt_info>" + element + b"</rt_info>", end.start() if end[1] is None else end.end(1)
    return *map(range, starts, ends), element, range(after, len(written))


def stamp_text(file: Path) -> str:
    """Return the text of the element; "" where there is none. ValueError for what is no text."""
    element = _ELEMENT.search(file.read_bytes())
    entities = {entity: character for character, entity in _AS_ENTITIES.items()}
    return "" if element is None else unescape(element[1].decode(), entities)
