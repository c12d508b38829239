"""Run ONNX files in onnxruntime, and keep them as `model.onnx`."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from titrant.runtime.backends import recurrent
from titrant.runtime.backends.runnable import LoadedSession, Runnable
from titrant.runtime.backends.session import Spec, checked, failed_advice, insisted_batch
from titrant.runtime.values import OnnxModel
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnxruntime

ENGINE, NAME = "onnxruntime", "model.onnx"
# Where onnxruntime writes the weights of an optimized graph that are too large for the file itself.
_OUTSIDE = "session.optimized_model_external_initializers_file_name"
# onnxruntime's names of element types → NumPy's.
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


def options(threads: int) -> "onnxruntime.SessionOptions":
    """Return session options for a set number of threads that sleep when idle, with warnings off."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    # Spinning threads take the processor from every other engine that is timed beside this one.
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.log_severity_level = 3
    return chosen


def open_session(model: Any, *, threads: int, device: str = "cpu") -> "OnnxSession":
    """Load an OnnxModel (or anything with a `path` to an ONNX file).

    Raises StepError X212 for a file that onnxruntime cannot load, X220 for a device that it was not built for.
    """
    return OnnxSession(load(model.path, threads=threads, device=device))


def load(
    path: Path | bytes,
    *,
    threads: int,
    device: str = "cpu",
    optimized: Literal["all", "basic", "off"] = "all",
    written_to: Path | None = None,
    profiled_to: Path | None = None,
    mapped: bool = False,
) -> "onnxruntime.InferenceSession":
    """Create an onnxruntime session, optimizing the graph first; `written_to` keeps the optimized graph.

    With `profiled_to` every run is profiled: `end_profiling` names the file, which begins so. Bytes are a whole file.
    A `mapped` one reads weights from the file beside it whenever it runs and packs no copies, as does every one of a
    large model in fp32 whose weights stand there.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    levels = onnxruntime.GraphOptimizationLevel
    chosen = options(threads)
    chosen.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "off": levels.ORT_DISABLE_ALL,
    }[optimized]
    if written_to is not None:
        chosen.optimized_model_filepath = str(written_to)
        if isinstance(path, Path) and path.with_name(f"{NAME}.data").is_file():
            chosen.add_session_config_entry(_OUTSIDE, f"{written_to.name}.data")
    if mapped or (isinstance(path, Path) and _is_mapped(path)):
        chosen.add_session_config_entry("session.disable_prepacking", "1")
    if profiled_to is not None:
        chosen.enable_profiling = True
        chosen.profile_file_prefix = str(profiled_to)
    name = path.name if isinstance(path, Path) else "the bytes"
    try:
        source = str(path) if isinstance(path, Path) else path
        return onnxruntime.InferenceSession(source, chosen, providers=_providers(device))
    except (state.Fail, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile, state.NotImplemented) as error:
        raise StepError(
            Diagnostic(
                "X212",
                f"onnxruntime cannot load {name}: {_reason(error, path)}",
                help="the file is damaged, or newer than this onnxruntime: export it again, or upgrade onnxruntime",
            )
        ) from None
    except (state.InvalidArgument, state.RuntimeException) as error:
        raise StepError(Diagnostic("X212", f"onnxruntime cannot load {name}: {_reason(error, path)}")) from None


def _is_mapped(path: Path) -> bool:
    """Whether large weights in fp32 stand beside a file, which packing would copy; quantized ones need packing."""
    import onnx

    from titrant.runtime.backends.onnxruntime.apart import APART_BYTES, apart_bytes

    data = path.with_name(f"{NAME}.data")
    if not data.is_file() or data.stat().st_size <= APART_BYTES:
        return False
    graph = onnx.load(str(path), load_external_data=False).graph
    return 2 * apart_bytes(graph, floating=True) > apart_bytes(graph)


def _is_judged(kind: str) -> bool:
    return kind.startswith("tensor(") and kind != "tensor(string)"


class OnnxSession:
    """A loaded ONNX file; `fixed_batch` is the batch size it insists on, or None."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self._session = session
        self._failures = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented)
        self.specs = specs(session)
        about = session.get_modelmeta().custom_metadata_map.get(recurrent.KEY)
        self.recurrence = recurrent.read(json.loads(about)) if about else None
        self.input_names = tuple(name for name, _, _ in self.specs)
        # Text, such as the name of a class, and lists are no answers that can be judged.
        self.output_names = tuple(output.name for output in session.get_outputs() if _is_judged(output.type))
        self.fixed_batch = insisted_batch(recurrent.stateless(self.specs, self.recurrence))

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one batch: name → (batch, …) in, name → (batch, …) out.

        Raises StepError X201 for a batch that the file does not take and X221 when a node fails.
        """
        return dict(zip(self.output_names, self._answers(checked(self.specs, inputs)), strict=True))

    def prepared(self, inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """Return a call with one batch, which is looked at here and no more in the call; StepError as `run` does."""
        self.run(inputs)
        return partial(self._answers, checked(self.specs, inputs))

    def _answers(self, feed: Mapping[str, np.ndarray]) -> Any:
        try:
            return self._session.run(self.output_names, feed)
        except self._failures as error:
            advice = failed_advice("onnxruntime", feed)
            # It may say which value of a row an operation could not take.
            message = f"onnxruntime failed on a batch of {_shapes(feed)}: {type(error).__name__}"
            raise StepError(Diagnostic("X221", message, help=advice, said=_without_prefix(error))) from None

    def close(self) -> None:
        """Free the model."""
        del self._session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def specs(session: "onnxruntime.InferenceSession") -> tuple[Spec, ...]:
    """Read a session's inputs; a dimension without a number is free."""
    return tuple(
        (item.name, _shape(item.shape), DTYPES.get(item.type, item.type.removeprefix("tensor(").removesuffix(")")))
        for item in session.get_inputs()
    )


def _shape(shape: Sequence[int | str | None]) -> tuple[int | str, ...]:
    return tuple(size if isinstance(size, int) else str(size or "any") for size in shape)


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime

    kind, _, index = device.partition(":")
    if kind == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"]
    raise StepError(
        Diagnostic(
            "X220",
            f"this onnxruntime does not run on {device}: it offers {', '.join(onnxruntime.get_available_providers())}",
            help="set target.device to cpu, or install onnxruntime-gpu",
        )
    )


def _shapes(feed: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in feed.items())


def _reason(error: BaseException, path: Any) -> str:
    """Return why a file cannot be loaded, without its path, which onnxruntime puts before it."""
    return _without_prefix(error).removeprefix(f"Load model from {path} failed:")


def _without_prefix(error: BaseException) -> str:
    text = first_line(error)
    # Its own prefix, error number and error name come before the third colon.
    return text.split(" : ", 3)[-1] if text.startswith("[ONNXRuntimeError]") else text


def save_onnx(value: OnnxModel, folder: Path) -> None:
    """Copy the file into a folder under its fixed name, and the weights beside it where there are some."""
    data = value.path.with_name(f"{NAME}.data")
    if value.path != folder / NAME:
        shutil.copyfile(value.path, folder / NAME)
        if data.is_file():
            shutil.copyfile(data, folder / data.name)


def runnable(value: Any) -> Runnable | None:
    """Return an .onnx file, the bytes of one or a loaded session as what can be called; None for anything else."""
    if isinstance(value, bytes):
        return Runnable(ENGINE, "an ONNX graph in memory", partial(_loaded, value), held_bytes=len(value))
    if type(value).__module__.partition(".")[0] == ENGINE and hasattr(value, "get_inputs"):
        note = "with the threads and on the device that it was made with"
        return Runnable(ENGINE, "a session", lambda *_: LoadedSession(OnnxSession(value)), note=note)
    path = value.path if isinstance(value, OnnxModel) else value
    if not isinstance(path, Path) or path.suffix != ".onnx":
        return None
    return Runnable(ENGINE, "an ONNX file", partial(_loaded, path), files=(path, *_outside(path)))


def _loaded(source: Path | bytes, threads: int, device: str) -> LoadedSession:
    return LoadedSession(OnnxSession(load(source, threads=threads, device=device or "cpu")), device)


def _outside(path: Path) -> Iterator[Path]:
    """Yield the files beside an ONNX file that hold weights of it; none where the file cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (OSError, DecodeError):
        return  # what loads it says what is wrong
    named = {entry.value for held in graph.initializer for entry in held.external_data if entry.key == "location"}
    yield from (path.parent / name for name in sorted(named) if (path.parent / name).is_file())
