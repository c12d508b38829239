"""Round weights to 4 or 8 bits in blocks for onnxruntime, which multiplies by them as they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from titrant.runtime.backends.backend import run_cost
from titrant.runtime.catalog import Context, Params, Port, operator
from titrant.runtime.cost.forward import forward_seconds, modelled, speed_of
from titrant.runtime.cost.matrices import WeightMatrix, matrices_of, quantized_already
from titrant.runtime.cost.sizes import (
    EMBEDDINGS,
    PRODUCTS_IN_FILE,
    is_constant,
    is_tied,
    layers_of,
    missing,
    short_onnx_bytes,
    tied_to_table,
)
from titrant.runtime.method import Method, Repair
from titrant.schema.cost import NOTHING_KNOWN, Arithmetic, Speedup, Unmet, Work
from titrant.schema.diagnostics.diagnostics import Diagnostic, PreconditionError
from titrant.schema.facts import Hardware, Layer, ModelFacts
from titrant.schema.plan import Prediction

if TYPE_CHECKING:
    from titrant.runtime.values import OnnxModel, Rows

ROUNDED = (*PRODUCTS_IN_FILE, *EMBEDDINGS)
# Of a product with fewer inputs little is saved, and unpacking costs as much as multiplying.
LEAST_INPUTS = 64
# A row of a table has no product to slow down: the least block.
LEAST_ROW = 16
_MATRIX = 2
_WIDTHS = (4, 8)
ADAROUND = "adaround"
# Calibration rows that are answered at once.
ROWS_AT_ONCE = 64
# Steps by vectors in each of them, of one layer, and what a step takes besides its products.
STEPS, VECTORS, STEP_SECONDS = 600, 64, 0.9e-3

# Names, shapes and attributes of what takes the place of a product.
NODES_BYTES = 140
# Some rows of a weight that stands apart: as they are read, laid out anew, filled up and rounded.
_WORKING_BYTES = 64 << 20
# Reading, rewriting and opening the graph: at all, for each layer, and for its weights.
_SECONDS, _LAYER_SECONDS = 0.04, 0.001
_READ_BYTES_PER_SECOND = {"rtn": 60e6, "hqq": 4e6, "k_quant": 3e6}


class OrtNbitsParams(Params):
    """How weights are rounded, and in which numbers they are multiplied."""

    bits: Literal[4, 8] = Field(4, description="bits of a weight")
    block: Literal[16, 32, 64, 128, 256] = Field(
        128, description="weights that share a scale, at most; fewer where a layer has fewer inputs"
    )
    algorithm: Literal["rtn", "hqq", "k_quant"] = Field(
        "rtn", description="round to nearest, half-quadratic quantization, or llama.cpp's k-quant"
    )
    symmetric: bool = Field(False, description="no zero points: smaller by half a byte or a byte a block; rtn only")
    rounding: Literal["nearest", "adaround"] = Field(
        "nearest",
        description="how a weight becomes a whole number: the nearest, or the one that keeps the answers of each layer "
        "nearest on calibration rows; of products, below 8 bits, rtn only",
    )
    rows: int = Field(256, ge=1, description="calibration rows that adaround uses, at most")
    accuracy_level: Literal[0, 1, 2, 3, 4] = Field(
        4, description="numbers that are multiplied, at least: 4 int8, 3 bf16, 2 fp16, 1 fp32, 0 the engine's choice"
    )
    leave: tuple[str, ...] = Field((), description="layers, by name, that keep their precision")

    @model_validator(mode="after")
    def _has_zero_points(self) -> "OrtNbitsParams":
        if self.symmetric and self.algorithm != "rtn":
            raise ValueError(f"{self.algorithm} fits zero points, and symmetric leaves them out: write algorithm: rtn")
        if self.rounding == ADAROUND and (self.algorithm != "rtn" or self.bits == max(_WIDTHS)):
            raise ValueError("adaround chooses whole numbers for weights of 4 bits on the scales of algorithm: rtn")
        return self


def leaves(layer: Layer) -> str:
    """Say why a layer keeps its weights in fp32; "" where it does not."""
    shape = layer.weight_shape
    if not shape:
        return ""
    if layer.type == "MatMul":
        if layer.weight_operand == 0:
            return "its weight is the left operand, and onnxruntime takes blocks of the right one"
        if len(shape) < _MATRIX or set(shape[:-_MATRIX]) - {1}:
            return f"its weight is {' × '.join(map(str, shape))}, and onnxruntime takes blocks of a matrix"
    matrix = next(matrices_of(layer), None)
    if layer.type in EMBEDDINGS:
        if matrix is None or matrix.inputs < LEAST_ROW:
            return f"its rows have fewer numbers than the least block, {LEAST_ROW}"
    elif matrix is not None and matrix.inputs < LEAST_INPUTS:
        return f"with {matrix.inputs} inputs, fewer than {LEAST_INPUTS}, little is saved and unpacking takes longer"
    return ""


def requires(params: OrtNbitsParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need onnxruntime and a product or embedding with constant fp32 weights, of enough inputs."""
    unmet = missing(hardware, "onnx", "onnxruntime")
    if model is None:
        return unmet
    if again := quantized_already(model):
        return (*unmet, *again)
    if not model.is_graph and any(layer.custom and layer.weight_bytes for layer in model.layers):
        return unmet
    offered = [layer for layer in layers_of(model, *ROUNDED) if layer.dtype in ("", "float32")]
    if any(not leaves(layer) for layer in offered):
        return unmet
    taken = f"matrix products of {LEAST_INPUTS} inputs or more and embeddings of {LEAST_ROW} numbers or more"
    return (*unmet, Unmet(f"ort.nbits rounds {taken}, and the model has none in fp32", "use ort.static"))


def predict(
    params: OrtNbitsParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the blocks of every product and table."""
    if model is None:
        return Prediction()
    held = [layer for layer in layers_of(model, *ROUNDED) if not is_tied(layer) and not is_constant(layer)]
    rounded = [layer for layer in held if not leaves(layer)]
    matrices = [matrix for layer in (*rounded, *tied_to_table(model)) for matrix in matrices_of(layer)]
    size = short_onnx_bytes(model) + NODES_BYTES * len(matrices)
    size -= sum(4 * matrix.inputs * matrix.outputs for matrix in matrices)
    size += sum(block_bytes(matrix, params) for matrix in matrices)
    rate = _READ_BYTES_PER_SECOND[params.algorithm]
    seconds = _SECONDS + _LAYER_SECONDS * len(model.layers) + model.weight_bytes / rate
    if params.rounding == ADAROUND:
        # A step multiplies its vectors by a weight three times, forward and backward.
        products = [matrix.inputs * matrix.outputs for matrix in matrices if matrix.is_product]
        seconds += STEPS * VECTORS * 6 * sum(products) / speed_of(hardware, work.threads).flops
        seconds += STEPS * STEP_SECONDS * len(products)
        rows = min(params.rows, work.rows.get("calibration", params.rows))
        forward = forward_seconds(model, speed_of(hardware, work.threads), run_cost("torch", "torch"), max(rows, 1))
        seconds += 2 * len(matrices) * forward
    return modelled(hardware, seconds, _peak_bytes(params, model, rounded), size)


def _peak_bytes(params: OrtNbitsParams, model: ModelFacts, rounded: Sequence[Layer]) -> int:
    """Count the graph five times; of weights that stand apart the largest is read, and held as it is rounded."""
    if not (model.apart_bytes and rounded) or params.rounding == ADAROUND or layers_of(model, "BatchNormalization"):
        return 5 * model.weight_bytes
    read_apart = sum(layer.weight_bytes for layer in rounded if layer.dtype == "float32")
    inside = model.weight_bytes - min(model.apart_bytes, read_apart)
    matrices = (matrix for layer in rounded for matrix in matrices_of(layer))
    largest = max(matrices, key=lambda matrix: matrix.inputs * matrix.outputs)
    held = 4 * largest.inputs * largest.outputs + 3 * block_bytes(largest, params)
    return 5 * inside + _WORKING_BYTES + held


def block_bytes(matrix: WeightMatrix, params: OrtNbitsParams) -> int:
    """Return the bytes of a matrix in blocks: numbers, a scale for each block, and a zero point."""
    block = min(params.block, max(LEAST_ROW, 1 << (matrix.inputs - 1).bit_length()))
    blocks = -(-matrix.inputs // block)
    length = blocks * block if matrix.is_product else matrix.inputs
    zeros = -(-blocks * params.bits // 8)
    if matrix.is_product:
        zeros = 0 if params.symmetric else zeros
    return matrix.outputs * (-(-length * params.bits // 8) + 4 * blocks + zeros)


def loads(params: OrtNbitsParams) -> tuple[str, ...]:
    """Return the modules that are imported: torch for training alone."""
    ours = "titrant.runtime.backends.onnxruntime"
    trained = ("torch", f"{ours}.titration.adaround") if params.rounding == ADAROUND else ()
    return ("onnx", "onnxruntime", f"{ours}.nbits", *trained)


@operator(
    "quantize.ort_nbits",
    version=4,
    family="quantize",
    params=OrtNbitsParams,
    inputs={"model": "onnx", "calibration": Port(("rows",), optional=True, when=("rounding", ADAROUND))},
    outputs={"model": "onnx"},
    requires=requires,
    predict=predict,
    loads=loads,
    libraries=("onnx", "onnxruntime", "numpy", "torch"),
    method=Method(
        "ort.nbits",
        takes="onnx",
        engine="onnxruntime",
        format="onnx",
        bits=_WIDTHS,
        rank=5,
        dynamic_activations=True,
        devices=("cpu",),
        # Measured with onnxruntime 1.31 on one thread, products of 256 to 768 inputs and networks of them.
        arithmetic=Arithmetic(
            speedups=(
                Speedup(("product",), {1: 3.2, 4: 1.5, 32: 1.1, 256: 0.9, 1024: 0.75}, on=("avx512_vnni", "avx_vnni")),
                Speedup(("product",), {1: 2.0, 4: 1.0, 32: 0.8}),
            ),
            weights=0.25,
        ),
        layers=ROUNDED,
        named="matrix products and embeddings",
        leaves=leaves,
        repairs=(Repair(ADAROUND, "rounded", options={"rounding": ADAROUND}, bits=(4,)),),
    ),
)
def quantize_ort_nbits(
    params: OrtNbitsParams, context: Context, *, model: Any, calibration: Any = None
) -> dict[str, Any]:
    """Round the constant weights of MatMul, Gemm and Gather to 4 or 8 bits, block by block.

    Helps when: products have few rows (batch times tokens), so that reading weights takes the time: 3 to 4 times as
                fast at one row, slower than fp32 from about 30 rows on; or when the size counts most
    Inputs:     model - an fp32 ONNX file with a MatMul or Gemm of 64 inputs or more, or a Gather whose rows have 16
                numbers or more, with constant weights; calibration - for `rounding: adaround` alone, rows like those to
                come, whose arrays the file takes by name
    Outputs:    model - an ONNX file with onnxruntime's own operators MatMulNBits and GatherBlockQuantized; each Gemm
                becomes one of them and an Add. Convolutions, products with fewer inputs, with batch axes or with their
                weight on the left, and the layers of `leave` stay in fp32. Activations are rounded to int8 block by
                block at accuracy_level 4. The measurements quantized_nodes and fp32_nodes count the nodes with weights;
                of adaround, rounding_error is the mean over layers of the squared error of their answers, relative to
                that of the nearest. Of a model whose weights stand beside it those of the file do too
    Fails:      PreconditionError when there is nothing to round or a weight is NaN or infinite, X217 for adaround
                without rows; StepError when onnxruntime cannot load the result
    Cost:       one pass over the weights, twenty for hqq and k_quant; peak memory is five times the file, or of
                weights above 256 MiB that stand beside it little more than the largest: they are read and written one
                by one where a product or Gather reads them, or a Transpose before it, in fp32. adaround
                answers calibration rows twice for each layer, and trains 600 steps of 64 vectors
    """
    rounded, nodes, left = quantize(model, params, context, calibration)
    context.measure("quantized_nodes", nodes)
    context.measure("fp32_nodes", left)
    return {"model": rounded}


def quantize(
    model: "OnnxModel", params: OrtNbitsParams, context: Context, calibration: "Rows | None" = None
) -> "tuple[OnnxModel, int, int]":
    """Return the written file, how many nodes are rounded, and how many with weights are not."""
    import numpy as np

    from titrant.runtime.backends.onnxruntime.apart import apart_bytes
    from titrant.runtime.backends.onnxruntime.compact.compact import compact
    from titrant.runtime.backends.onnxruntime.graph import PRODUCT, WEIGHTED, weighted_nodes, without_gemm, write
    from titrant.runtime.backends.onnxruntime.layer_names import layers_by_node
    from titrant.runtime.backends.onnxruntime.nbits import Rounding, round_weights, roundable
    from titrant.runtime.backends.onnxruntime.normalize import restore_names
    from titrant.runtime.backends.onnxruntime.session import load
    from titrant.runtime.backends.onnxruntime.tools import prepared

    trained = params.rounding == ADAROUND
    graph, names = prepared(model.path, context.scratch, apart=not trained)
    file = context.scratch / "rounded" if apart_bytes(graph.graph) else None
    left = layers_by_node(graph.graph, params.leave)
    without_gemm(graph)
    products, tables = (
        [
            node
            for node in roundable(graph, operation, least)
            if node not in left and node.removesuffix(PRODUCT) not in left
        ]
        for operation, least in (("MatMul", LEAST_INPUTS), ("Gather", LEAST_ROW))
    )
    if not products and not tables:
        raise PreconditionError(
            Diagnostic(
                "X210",
                f"no MatMul or Gemm has constant fp32 weights of {LEAST_INPUTS} inputs, no Gather an fp32 table",
                help="use quantization.method ort.static",
            )
        )
    how = Rounding(params.bits, params.block, params.algorithm, params.symmetric, params.accuracy_level)
    numbers: dict[str, np.ndarray] = {}
    if trained and products:
        from titrant.runtime.backends.onnxruntime.calibration import RangeRule, feeds_of
        from titrant.runtime.backends.onnxruntime.titration.adaround import adaround

        if calibration is None:
            message = "rounding: adaround is trained on calibration rows, and there are none"
            raise PreconditionError(Diagnostic("X217", message, help="give the role calibration rows in data.split"))
        rule = RangeRule("minmax", 100.0, params.rows, ROWS_AT_ONCE)
        feeds = feeds_of(graph, names, model, calibration, rule)
        numbers, errors = adaround(graph, products, how, feeds, context)
        context.measure("rounding_error", float(np.mean([each.left for each in errors.values()])))
    round_weights(graph, products, tables, how, numbers, file=file)
    restore_names(graph, names)
    compact(graph)
    written = write(graph, context.scratch / "model.onnx")
    if file is not None:
        file.unlink(missing_ok=True)
    load(written.path, threads=1, mapped=file is not None)  # proves that it can be loaded
    return written, len(products) + len(tables), len(weighted_nodes(graph, (*WEIGHTED, "Gather")))
