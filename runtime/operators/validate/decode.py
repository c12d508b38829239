"""Make boxes of a detector's raw outputs with the recipe's own function."""

from typing import Any

from pydantic import Field

from titrant.runtime.catalog import Context, Params, operator
from titrant.runtime.cost.forward import ASSUMED_ROWS, BASE_SECONDS
from titrant.schema.cost import NOTHING_KNOWN, Work
from titrant.schema.facts import Hardware, ModelFacts
from titrant.schema.plan import Prediction
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.terms import Ref

# Suppressing overlapping boxes of one image takes about this long; so many boxes are left of it.
_ROW_SECONDS, _ROW_BYTES = 1e-3, 20 * 24


class DecodeParams(Params):
    """The function that makes boxes."""

    decode: Ref = Field(description="`module:Name` of one case's raw outputs → boxes (N, 4), scores (N), labels (N)")


def predict(
    params: DecodeParams, hardware: Hardware, model: ModelFacts | None, work: Work = NOTHING_KNOWN
) -> Prediction:
    """Guess a millisecond an image: how long the user's function takes is not known."""
    rows = work.rows.get("rows", ASSUMED_ROWS)
    size = rows * _ROW_BYTES
    return Prediction(
        seconds=BASE_SECONDS + rows * _ROW_SECONDS,
        peak_bytes=work.bytes.get("outputs", 0) + 2 * size,
        output_bytes=size,
        basis="guess",
    )


@operator(
    "validate.decode",
    version=1,
    family="validate",
    params=DecodeParams,
    inputs={"outputs": "outputs", "rows": "rows"},
    outputs={"outputs": "outputs"},
    determinism="exact",
    predict=predict,
    loads=("titrant.runtime.contract.tasks.decoding",),
    libraries=("numpy",),
    user_code=True,
)
def validate_decode(params: DecodeParams, context: Context, *, outputs: Any, rows: Any) -> dict[str, Any]:
    """Make boxes of the raw outputs, case by case, and cut them at the edges of the image.

    Helps when: a detector is judged: its raw outputs are offsets, scores of anchors or maps, and each has its own way
                to boxes.
    Inputs:     outputs - raw outputs, (rows, …); rows - what they are answers to, of which the first images, (rows,
                channels, height, width) or channels last, say how large an image is
    Outputs:    outputs - "boxes" (rows, most of a row, 6) float32: left, top, right, bottom in pixels, score 0..1,
                class; -1 fills a case up that has fewer
    Fails:      StepError X108 with the user's line where the function raises, X648 when it gives no boxes, X649 when it
                gives others for the same outputs
    Cost:       the function's own, once a case; that of a slow one is said
    """
    from titrant.runtime.contract.tasks.decoding import SLOW_SECONDS, decode_rows
    from titrant.runtime.data.images.objects import image_size
    from titrant.runtime.values import Outputs

    boxes, seconds = decode_rows(params.decode, outputs.arrays, image_size(rows.inputs), context.progress)
    context.measure("seconds_per_case", seconds, "s")
    if seconds > SLOW_SECONDS:
        context.note(
            f"{params.decode} takes {seconds * 1e3:.0f} ms a case, and is called for each case that any model answers: "
            "work on whole arrays, and leave out low scores first"
        )
    return {"outputs": Outputs(outputs.role, {BOXES: boxes})}
