"""Take an existing ONNX file as the model: check it and bring external weights inside it, or along if large."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import BASE_SECONDS, basis_of
from titrant.runtime.cost.sizes import ONNX_NODE_BYTES
from titrant.runtime.data.parameters import File, Files, StateParams
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.values.text import first_line

if TYPE_CHECKING:
    import onnx

    from titrant.runtime.values import OnnxModel

FILE = "model.onnx"
# Where onnxruntime looks for weights of a graph that it gets without a file.
_BESIDE = "session.model_external_initializers_file_folder_path"

# Reading, checking, writing and keeping the file.
_READ_BYTES_PER_SECOND = 100e6
# What onnx itself takes when it is first used.
_READER_BYTES = 9 << 20


class ModelLoadOnnxParams(Params):
    """The file, and those beside it that hold its weights."""

    onnx: File
    parts: Files = Field((), description="files outside it that hold weights; it names them itself")
    state: StateParams | None = Field(
        None, description="recurrent state, which is written into the file", exclude_if=lambda value: value is None
    )


def predict(
    params: ModelLoadOnnxParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which are nearly the whole file."""
    if model is None:
        return Prediction(seconds=0.1, basis="guess")
    size = model.weight_bytes + (model.graph_bytes or ONNX_NODE_BYTES * len(model.layers))
    seconds = 2 * BASE_SECONDS + size / _READ_BYTES_PER_SECOND
    peak = 3 * (size - model.apart_bytes) + _READER_BYTES
    return Prediction(seconds=seconds, peak_bytes=peak, output_bytes=size, basis=basis_of(hardware))


@operator(
    "model.load_onnx",
    version=6,
    family="model",
    params=ModelLoadOnnxParams,
    inputs={},
    outputs={"model": "onnx"},
    predict=predict,
    loads=("onnx", "onnxruntime", "titrant.runtime.backends.onnxruntime.graph"),
    libraries=("onnx",),
)
def model_load_onnx(params: ModelLoadOnnxParams, context: Context) -> Mapping[str, Any]:
    """Check the file, bring its external weights along, and put right what keeps onnxruntime from running it well.

    Helps when: the model already is ONNX.
    Inputs:     none
    Outputs:    model - one ONNX file; weights that stood in other files and take more than 256 MiB, and all above
                2 GB, stand in `model.onnx.data` beside it. Its probabilities are an array where they were a mapping of
                class to probability (ZipMap); where two nodes have one name they are numbered, a file that is newer
                than onnxruntime is brought to the versions that it reads, and weights are no inputs. The plan says so
    Fails:      StepError when the file is not valid ONNX, its external data is missing, or its opset or IR version is
                newer than the installed onnx and onnxruntime know
    Cost:       one read and one write of the file; peak memory is three times what does not stay beside it
    """
    return {"model": load_onnx(params.onnx.path, context.scratch, params.state)}


def load_onnx(path: str, scratch: Path, state: StateParams | None = None) -> "OnnxModel":
    """Write a checked and mended copy into `scratch`, above 2 GB with its weights beside it; else they come inside.

    So do weights in other files up to 256 MiB; larger ones are copied a few MiB at once.

    One that needs neither keeps its bytes.

    So does one that answers with arrays only: see `unzip`. Recurrent `state` is written into it.
    """
    import onnx

    from titrant.runtime.backends.onnxruntime.graph import fits_one_file, note_recurrence, write_apart
    from titrant.runtime.backends.onnxruntime.mend import mend
    from titrant.runtime.values import OnnxModel

    model, external = read_onnx(path)
    unzipped = unzip(model)
    model, notes = mend(model)
    target = scratch / FILE
    if state is not None:
        note_recurrence(model, state.recurrence)
    if not fits_one_file(model):
        return write_apart(model, target)
    if unzipped or external or notes or state is not None:
        onnx.save(model, target)
    else:
        shutil.copyfile(path, target)
    return OnnxModel(target)


def read_onnx(path: str) -> "tuple[onnx.ModelProto, bool]":
    """Read and check a file; returns the model, its weights inside unless they are large, and whether they were not.

    Raises StepError as `read_graph` does.
    """
    import onnx

    from titrant.runtime.backends.onnxruntime.apart import settle

    model, parts = read_graph(path)
    file = Path(path)
    if parts:
        try:
            settle(model, file.parent, apart=True)
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise StepError(_outside(file, first_line(error))) from None
        _check(model, file)
    return model, bool(parts)


def read_graph(path: str) -> "tuple[onnx.ModelProto, tuple[Path, ...]]":
    """Read and check a file but for weights that stand in other files; returns the model and those files, sorted.

    Raises StepError X160 for a file that is missing, damaged or not valid, X161 for an opset or IR version that the
    installed onnx does not know.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    file = Path(path)
    if not file.is_file():
        raise StepError(Diagnostic("X160", f"there is no file {path}", help="check `model.onnx`"))
    try:
        model = onnx.load(file, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise StepError(
            _unusable(file, f"cannot be read as ONNX: {first_line(error)}", "copy or export it again")
        ) from None
    if not model.graph.node or not model.graph.output:
        raise StepError(_unusable(file, "holds no ONNX graph", "copy or export it again"))
    _check_versions(model, file)
    parts = _parts(model, file)
    if not parts:
        _check(model, file)
    return model, parts


def unzip(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Let outputs that are mappings of class to probability be the array that they are made of; return their names.

    scikit-learn's converters put a ZipMap behind the probabilities; it is taken out, and the output keeps its name.
    """
    import onnx

    outputs = {value.name: value for value in model.graph.output}
    changed = []
    for node in model.graph.node:
        if node.op_type != "ZipMap" or node.domain != "ai.onnx.ml" or node.output[0] not in outputs:
            continue
        labels = next((item.ints or item.strings for item in node.attribute if item.name.startswith("classlabels")), ())
        shape = ["batch", len(labels) or None]
        plain = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape)
        outputs[node.output[0]].CopyFrom(plain)
        node.CopyFrom(onnx.helper.make_node("Identity", node.input, node.output, node.name))
        changed.append(node.output[0])
    return tuple(changed)


def numeric(values: "Iterable[onnx.ValueInfoProto]") -> "list[onnx.ValueInfoProto]":
    """Return the outputs that are arrays of numbers: text, such as the name of a class, and lists are not answered."""
    import onnx

    textual = (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING)
    return [value for value in values if value.type.tensor_type.elem_type not in textual]


def open_check(path: str, model: "onnx.ModelProto | None" = None) -> None:
    """Open a file in onnxruntime without optimizing, or its mended `model`, whose weights may stand beside the file.

    Raises StepError X161 when onnxruntime refuses the opset or an operator.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if model is not None:
        _check_known(model, Path(path))
        options.add_session_config_entry(_BESIDE, str(Path(path).absolute().parent))
    try:
        onnxruntime.InferenceSession(
            path if model is None else model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (
        state.Fail,
        state.InvalidGraph,
        state.NotImplemented,
        state.InvalidArgument,
        state.RuntimeException,
    ) as error:
        line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", first_line(error)).replace(path, Path(path).name)
        raise StepError(
            Diagnostic(
                "X161",
                f"onnxruntime {onnxruntime.__version__} cannot open {Path(path).name}: {line}",
                help="install a newer onnxruntime, or export with a lower opset and standard operators",
            )
        ) from None


def _check_known(model: "onnx.ModelProto", file: Path) -> None:
    """Refuse a file that stays newer than onnxruntime, whose own message does not say which of its operators are."""
    import onnxruntime

    from titrant.runtime.backends.onnxruntime.graph import opset
    from titrant.runtime.backends.onnxruntime.mend import reads

    newest = reads()[1]
    if opset(model) > newest:
        message = (
            f"{file.name} has opset {opset(model)}; onnxruntime {onnxruntime.__version__} knows up to {newest}, and "
            "its operators cannot be brought there"
        )
        raise StepError(Diagnostic("X161", message, help="install a newer onnxruntime, or export with a lower opset"))


def _check_versions(model: "onnx.ModelProto", file: Path) -> None:
    import onnx

    from titrant.runtime.backends.onnxruntime.graph import opset

    newest = onnx.defs.onnx_opset_version()
    version = opset(model)
    if version > newest or model.ir_version > onnx.IR_VERSION:
        what = f"opset {version}" if version > newest else f"IR version {model.ir_version}"
        limit = newest if version > newest else onnx.IR_VERSION
        raise StepError(
            Diagnostic(
                "X161",
                f"{file.name} has {what}; onnx {onnx.__version__} knows up to {limit}",
                help="install a newer onnx, or export with a lower opset",
            )
        )


def _parts(model: "onnx.ModelProto", file: Path) -> tuple[Path, ...]:
    """List the files that hold weights outside the model's, each long enough for what it is said to hold."""
    import onnx

    from titrant.runtime.backends.onnxruntime.apart import tensors_of

    ends: dict[str, int] = {}
    for tensor in tensors_of(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            said = {item.key: item.value for item in tensor.external_data}
            place = said.get("location", "")
            end = int(said.get("offset", 0)) + int(said.get("length", 0))
            ends[place] = max(ends.get(place, 0), end)
    for place, end in ends.items():
        part = file.parent / place
        # By its words: a link beside the model may lead anywhere.
        if ".." in Path(place).parts or not part.is_relative_to(file.parent):
            message = f"keeps weights outside its folder, in {place}, which onnxruntime does not read"
            raise StepError(_unusable(file, message, "export it again with its weights beside it, or inside"))
        if not part.is_file():
            raise StepError(_outside(file, f"there is no file {place}"))
        if part.stat().st_size < end:
            raise StepError(_outside(file, f"{place} has {part.stat().st_size} bytes of {end}"))
    return tuple(file.parent / place for place in sorted(ends))


def _check(model: "onnx.ModelProto", file: Path) -> None:
    import onnx

    from titrant.runtime.backends.onnxruntime.graph import fits_one_file

    try:
        # A graph above 2 GB onnx checks by its path alone.
        onnx.checker.check_model(model if fits_one_file(model) else str(file))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise StepError(_unusable(file, f"is not valid ONNX: {first_line(error)}", "export it again")) from None


def _outside(file: Path, problem: str) -> Diagnostic:
    return _unusable(file, f"keeps weights in a file that cannot be read: {problem}", "put it beside the model")


def _unusable(file: Path, message: str, help: str) -> Diagnostic:
    return Diagnostic("X160", f"{file.name} {message}", help=help)
