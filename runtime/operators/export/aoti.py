"""Compile a torch.export program by AOTInductor."""

from typing import Any

from pydantic import Field

from titrant.runtime.backends.torch.program.torchao_cost import COMPILED_PEAK_BYTES, compile_seconds, lacking_compiler
from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import modelled
from titrant.runtime.cost.sizes import compiled_bytes, missing
from titrant.schema.cost import NOTHING_KNOWN, Unmet, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction

_HELP = "torch compiles this network wrongly here: export exported, onnx or openvino, or use another torch"


class ExportAotiParams(Params):
    """How far answers may move."""

    tolerance: float = Field(
        1e-4,
        gt=0,
        description="largest difference to the program's answers, relative to the largest answer; of a model in 16 "
        "bits four roundings of its numbers are allowed",
    )
    rows: int = Field(8, ge=1, description="example rows that are compared, at most")


def requires(params: ExportAotiParams, hardware: Hardware, model: ModelFacts | None) -> tuple[Unmet, ...]:
    """Need torch and a C++ compiler."""
    return (*missing(hardware, "torch"), *lacking_compiler(hardware))


def predict(
    params: ExportAotiParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Count the weights, which stand in the machine code, and what the code itself takes."""
    if model is None:
        return Prediction()
    size = compiled_bytes(model)
    return modelled(hardware, compile_seconds(model), COMPILED_PEAK_BYTES + 4 * size, size)


@operator(
    "export.aoti",
    version=2,
    family="export",
    params=ExportAotiParams,
    inputs={"model": "exported", "example": "rows"},
    outputs={"model": "aoti"},
    determinism="measured",
    requires=requires,
    predict=predict,
    loads=("torch", "torch.export", "torch._dynamo", "titrant.runtime.backends.torch.program.compiled"),
    costless=("tolerance",),
    libraries=("torch", "c++"),
)
def export_aoti(params: ExportAotiParams, context: Context, *, model: Any, example: Any) -> dict[str, Any]:
    """Compile a torch.export program into a package of machine code for this processor, for one thread or as many.

    Helps when: the model runs in torch, or libtorch without Python, on processors like this one, and many small
                operations take its time: they become few.
    Inputs:     model - a torch.export file; example - rows whose arrays it takes by name
    Outputs:    model - a package (.pt2) with the same inputs and outputs, its weights inside; it is compiled for the
                threads that the recipe makes its files with
    Fails:      StepError where an operation has no C++ code, where the compiler fails, and where the package's answers
                differ from the program's beyond `tolerance`
    Cost:       ten seconds and more of the C++ compiler, whose memory comes beside the worker's
    """
    from titrant.runtime.backends.torch.determinism import fixed_settings
    from titrant.runtime.backends.torch.program.compiled import compiled
    from titrant.runtime.backends.torch.program.load import load_program
    from titrant.runtime.backends.torch.program.parity import Expected, program_answers, tried_batches
    from titrant.runtime.backends.torch.script import rounding

    program, border = load_program(model)
    with fixed_settings(context.threads, context.seed, deterministic=False):
        batches = tried_batches(border, example, params.rows)
        answers = program_answers(program, border, batches, context.threads)
        tolerance = max(params.tolerance, rounding(program.module()))
        expected = Expected(batches, answers, tolerance, "is allowed", _HELP)
        package, parity = compiled(program, border, expected, context.scratch, context.threads)
    context.measure("parity_relative", parity)
    return {"model": package}
