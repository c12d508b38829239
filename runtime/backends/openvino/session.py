"""Run IR files in OpenVINO: as many threads as asked for, in the precision that the file was judged in."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.openvino.ir import IrModel, about, input_names, precision_of, read, read_file
from titrant.runtime.backends.openvino.library import compiled, reason
from titrant.runtime.backends.runnable import LoadedSession, Runnable
from titrant.runtime.backends.session import Spec, checked, failed_advice, insisted_batch
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError

if TYPE_CHECKING:
    import openvino

ENGINE = "openvino"


def open_session(model: Any, *, threads: int, device: str = "cpu") -> "IrSession":
    """Load an IrModel.

    Raises StepError X212 for a file that OpenVINO cannot load, X220 for a device other than the processor.
    """
    _need_processor(device)
    graph = read(model)
    return IrSession(graph, compiled(graph, model.path.name, precision=precision_of(graph), threads=threads))


def _need_processor(device: str) -> None:
    if device != "cpu":
        message = f"titrant runs OpenVINO on the processor, and the device is {device}"
        raise StepError(Diagnostic("X220", message, help="set target.device to cpu"))


class IrSession:
    """A loaded IR; `fixed_batch` is the batch size it insists on, or None."""

    def __init__(self, graph: "openvino.Model", compiled_model: "openvino.CompiledModel") -> None:
        self.specs = specs(graph)
        kept = about(graph)
        self.recurrence = kept.recurrence
        self.input_names = tuple(name for name, _, _ in self.specs)
        # Text is no answer that can be judged.
        judged = [output.element_type.get_type_name() != "string" for output in graph.outputs]
        self._places = [place for place, is_judged in enumerate(judged) if is_judged]
        self.output_names = tuple(kept.outputs[place] for place in self._places)
        declared = [graph.outputs[place].partial_shape.rank for place in self._places]
        self._ranks = {
            name: rank.get_length() for name, rank in zip(self.output_names, declared, strict=True) if rank.is_static
        }
        self.fixed_batch = insisted_batch(recurrent.stateless(self.specs, self.recurrence))
        self._types = tuple(item.element_type for item in graph.inputs)
        self._request = compiled_model.create_infer_request()
        # The request reads them where they are, and does not keep them.
        self._given: list[openvino.Tensor] = []

    @property
    def request(self) -> "openvino.InferRequest":
        """What infers, and tells what its operations took where it was compiled to count."""
        return self._request

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out.

        Raises StepError X201 for a batch that the file does not take, X221 when an operation fails, and X238 where
        OpenVINO answers with other dimensions than the file declares.
        """
        feed = checked(self.specs, inputs)
        answers = self._infer(feed, self._tensors(feed))
        given = {name: answers[place] for name, place in zip(self.output_names, self._places, strict=True)}
        for name, rank in self._ranks.items():
            if given[name].ndim != rank:
                raise StepError(_other_shape(name, given[name].shape, rank))
        return given

    def prepared(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """Return a call with one batch, which is looked at here and no more in the call; StepError as `run` does."""
        self.run(inputs)
        feed = checked(self.specs, inputs)
        return partial(self._infer, feed, self._tensors(feed))

    def _tensors(self, feed: Mapping[str, np.ndarray]) -> "list[openvino.Tensor]":
        return [_tensor(array, of_type) for array, of_type in zip(feed.values(), self._types, strict=True)]

    def _infer(self, feed: Mapping[str, np.ndarray], tensors: "list[openvino.Tensor]") -> Any:
        """Infer from tensors that are set one by one: handing over arrays takes the binding 80 to 130 µs more."""
        self._given = tensors
        for place, tensor in enumerate(tensors):
            self._request.set_input_tensor(place, tensor)
        try:
            return self._request.infer()
        except RuntimeError as error:
            advice = failed_advice("OpenVINO", feed)
            shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in feed.items())
            message = f"openvino failed on a batch of {shapes}: {type(error).__name__}"
            raise StepError(Diagnostic("X221", message, help=advice, said=reason(error))) from None

    def close(self) -> None:
        """Free the model."""
        del self._request, self._given

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tensor(array: np.ndarray, of_type: "openvino.Type") -> "openvino.Tensor":
    """Hand over an array as it lies in memory, or a copy where OpenVINO must not: text, and what may not be written."""
    import openvino

    if of_type == openvino.Type.bf16:  # numpy has no bf16; the array holds its bits
        copied = openvino.Tensor(of_type, array.shape)
        copied.data[:] = array.view(copied.data.dtype)
        return copied
    in_order = array if array.flags.c_contiguous else array.copy()
    return openvino.Tensor(in_order, shared_memory=in_order.flags.writeable and in_order.dtype != object)


def _other_shape(name: str, shape: tuple[int, ...], rank: int) -> Diagnostic:
    dimensions = "a dimension" if rank == 1 else f"{rank} dimensions"
    return Diagnostic(
        "X238",
        f"openvino answers {name} in shape {shape}, and the file declares {dimensions}",
        help="use another method or engine; OpenVINO compiles this graph wrongly",
    )


def specs(graph: "openvino.Model") -> tuple[Spec, ...]:
    """Read a graph's inputs; a dimension without a number is free."""
    return tuple(
        (name, shape_of(item.partial_shape), type_of(item.element_type))
        for name, item in zip(input_names(graph), graph.inputs, strict=True)
    )


def shape_of(shape: Any) -> tuple[int | str, ...]:
    """Return a partial shape, "batch" for a first dimension without a number and "any" for others; () of any rank."""
    if shape.rank.is_dynamic:
        return ()
    sizes = [int(size.get_length()) if size.is_static else "any" for size in shape]
    return tuple("batch" if place == 0 and size == "any" else size for place, size in enumerate(sizes))


def type_of(element: Any) -> str:
    """Return an element type as NumPy calls it, text as object."""
    if element.get_type_name() == "string":
        return "object"
    return str(element.to_dtype())


def runnable(value: Any) -> Runnable | None:
    """Return an .xml file or a graph, compiled or not, as what can be called; None for anything else."""
    if type(value).__module__.partition(".")[0] == ENGINE:
        return _live(value)
    path = value.path if isinstance(value, IrModel) else value
    if not isinstance(path, Path) or path.suffix != ".xml":
        return None
    weights = path.with_suffix(".bin")
    files = (path, weights) if weights.is_file() else (path,)

    def load(threads: int, device: str) -> LoadedSession:
        return _loaded(read_file(path, weights), path.name, threads, device)

    return Runnable(ENGINE, "an OpenVINO IR", load, files)


def _live(value: Any) -> Runnable | None:
    import openvino

    if isinstance(value, openvino.Model):
        return Runnable(ENGINE, "an OpenVINO graph", partial(_loaded, value, "the graph"), held_bytes=0)
    if not isinstance(value, openvino.CompiledModel):
        return None

    graph, note = value.get_runtime_model(), "with the threads that it was compiled for"
    return Runnable(ENGINE, "a compiled model", lambda *_: LoadedSession(IrSession(graph, value)), note=note)


def _loaded(graph: "openvino.Model", name: str, threads: int, device: str) -> LoadedSession:
    _need_processor(device or "cpu")
    return LoadedSession(IrSession(graph, compiled(graph, name, precision=precision_of(graph), threads=threads)))
