"""What a starter recipe does to columns before the model sees them, or the question what was done in training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titrant.api.starter.inputs import kept_columns
from titrant.api.starter.lines import FREE_PIXELS, Starter, refuse
from titrant.api.starter.questions import AnswerChoice, OpenQuestion
from titrant.schema.language.write import flow
from titrant.schema.recipe.transform import KEEP
from titrant.schema.values.frozen import dataclass

TransformEntry = str | Mapping[str, Any]

# Channels that images are read with, and the dimensions of a batch of them.
_CHANNELS, _IMAGE_DIMENSIONS = (1, 3), 4
# Kinds of sources that hold rows as people have them; arrays and a factory's rows are made for the model.
_RAW = ("csv", "parquet", "sklearn")
# Ways that image models are trained, of pixels in 0..1; uint8 arrays are brought there.
_CENTERED: Mapping[str, Any] = {"normalize": {"mean": 0.5, "std": 0.5}}
_PIXELS: tuple[tuple[str, Mapping[str, Any] | None], ...] = (
    ("pixels 0 to 1", None),
    ("pixels -1 to 1", _CENTERED),
    ("as torchvision's models are trained", {
        "normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    }),
    ("pixels 0 to 255", {"normalize": {"mean": 0, "std": 1, "scale": 255}}),
)  # fmt: skip
_UNIT: Mapping[str, Any] = {"normalize": {"mean": 0, "std": 1}}


@dataclass(frozen=True)
class TransformProposal:
    """The transforms, why these, and the question where nothing says which."""

    steps: tuple[TransformEntry, ...] = ()
    note: str = ""
    question: OpenQuestion | None = None


def transform_question(starter: Starter) -> Iterator[OpenQuestion]:
    """Ask what was done to pixels or columns when the model was trained, where nothing says so."""
    if starter.data is None:
        return
    question = preparation(starter, kept_columns(starter)[0]).question
    if question is not None:
        yield question


def preparation(starter: Starter, kept: Sequence[Mapping[str, Any]]) -> TransformProposal:
    """Decide on the transforms of the columns that are kept."""
    stated = starter.stated("data.transform")
    if starter.source is not None and starter.source[0] == "image_folder":
        _refuse_channels_last(starter)
    if isinstance(stated, list):
        return TransformProposal(tuple(stated))
    if stated is not None:
        refuse("`data.transform` is a list", f"such as --set 'data.transform=[{flow(stated)}]'")
    images = [column for column in kept if column["dtype"] == "images" or len(column["shape"]) == 3]
    if images:
        return _pixels(starter, images)
    if starter.trains:
        return TransformProposal(tuple(_fitted(kept)))
    return _table(starter, kept)


def _table(starter: Starter, kept: Sequence[Mapping[str, Any]]) -> TransformProposal:
    """Decide for columns and arrays of numbers that a trained model takes."""
    kind = starter.source[0] if starter.source is not None else ""
    texts = [column["name"] for column in kept if column["dtype"] == "text"]
    gaps = [column["name"] for column in kept if column["missing"]]
    fractions = [column["standard"] for column in kept if column["standard"] is not None]
    single = [column for column in kept if not column["shape"]]
    if (starter.hints or {}).get("prepares") and not texts and not gaps:
        return TransformProposal(note="the model's file prepares its columns itself, so they go in as they are")
    if not texts and not gaps:
        if fractions and all(fractions):
            return TransformProposal(note="columns go in as they are: their numbers are standardized already")
        if kind not in _RAW or not single:
            return TransformProposal(note="numbers go in as they are")
    fitted = list(_fitted(kept))
    choices = [AnswerChoice(fitted, "fitted here, on the train rows")]
    if not texts:
        # A file that fills gaps itself, and trees that were trained on them, take them as they are.
        kept_gaps: list[TransformEntry] = [{"impute": {"strategy": KEEP}}] if gaps else []
        choices.insert(0, AnswerChoice(kept_gaps, f"as they are{', gaps too' if gaps else ''}"))
        if gaps:
            choices.insert(1, AnswerChoice(fitted[:-1], "gaps filled, numbers as they are"))
    problem = "is text" if texts else "has gaps" if gaps else ""
    because = f"`{(texts or gaps)[0]}` {problem}, and the" if problem else "The"
    return TransformProposal(
        question=OpenQuestion(
            "data.transform",
            "what was done to the columns when the model was trained?",
            f"{because} model was trained elsewhere.",
            tuple(choices),
        )
    )


def _fitted(kept: Sequence[Mapping[str, Any]]) -> Iterator[TransformEntry]:
    """Yield what a table needs for a network that is trained here: gaps filled, text and numbers as it takes them."""
    gaps = [column["name"] for column in kept if column["missing"] and column["dtype"] != "text"]
    holes = [column["name"] for column in kept if column["missing"] and column["dtype"] == "text"]
    text = any(column["dtype"] == "text" for column in kept)
    if gaps:
        yield {"impute": {"strategy": "median", **({"columns": gaps} if text else {})}}
    if holes:
        yield {"impute": {"strategy": "most_frequent", "columns": holes}}
    if text:
        yield "one_hot"
    if any(column["dtype"] not in ("text", "bool") for column in kept):
        yield "standardize"


def _pixels(starter: Starter, images: Sequence[Mapping[str, Any]]) -> TransformProposal:
    """Decide for images: their size where it is not the model's, and what was done to their pixels."""
    image = images[0]
    folder = starter.source is not None and starter.source[0] == "image_folder"
    bytes_given = image["dtype"] == "uint8" and _wants_fractions(starter)
    size = _model_size(starter)
    has = None if image["dtype"] == "images" else tuple(image["shape"][1:])
    resizes = has is None or (size is not None and has != size)
    stated = (starter.hints or {}).get("pixels") or {}
    beside = (stated["height"], stated["width"]) if {"height", "width"} <= set(stated) else None
    height, width = size or beside or (FREE_PIXELS, FREE_PIXELS)
    resize: list[TransformEntry] = [{"resize": {"height": height, "width": width}}] if resizes else []
    if starter.trains:
        normalize: list[TransformEntry] = [_CENTERED] if folder or bytes_given else []
        return TransformProposal((*resize, *normalize), question=_size_question(resize, normalize) if resizes else None)
    if not folder and not bytes_given:
        if not resizes:
            return TransformProposal(note="arrays go in as they are")
        return TransformProposal(question=_size_question(resize, [], has, size))
    if stated and (not resizes or beside == (height, width)):
        return TransformProposal((*resize, {"normalize": stated["normalize"]}), note=f"as {stated['from']} says")
    if stated:
        return TransformProposal(question=_size_question(resize, [{"normalize": stated["normalize"]}], has, size))
    if folder and not _wants_fractions(starter):
        whole: list[TransformEntry] = [{"normalize": {"mean": 0, "std": 1, "scale": 255}}]
        question = _size_question(resize, whole, has, size) if resizes else None
        return TransformProposal((*resize, *whole), question=question, note="the model's file takes bytes, 0 to 255")
    choices = [
        AnswerChoice([*resize, *_normalized(step, bytes_given=bytes_given)], means)
        for means, step in _PIXELS
        if step is None or "torchvision" not in means or image["shape"][0] == 3
    ]
    because = f"{_sizes(has, size)}, and nothing" if resizes else "Nothing"
    return TransformProposal(
        question=OpenQuestion(
            "data.transform",
            "what was done to the pixels when the model was trained?",
            f"{because} in its file says so.",
            tuple(choices),
        )
    )


def _normalized(step: Mapping[str, Any] | None, *, bytes_given: bool) -> list[TransformEntry]:
    """Return a way to normalize; bytes need one to become fractions at all."""
    if step is None:
        return [_UNIT] if bytes_given else []
    return [step]


def _size_question(
    resize: list[TransformEntry],
    more: list[TransformEntry],
    has: tuple[int, ...] | None = None,
    size: tuple[int, int] | None = None,
) -> OpenQuestion:
    return OpenQuestion(
        "data.transform",
        "may the images be resized so?",
        f"{_sizes(has, size)}; resizing is bilinear, and what the model was trained with can be another.",
        (AnswerChoice([*resize, *more], "or give images of that size"),),
    )


def _sizes(has: tuple[int, ...] | None, size: tuple[int, int] | None) -> str:
    given = "The images differ in size" if has is None else f"The images have {has[0]} × {has[1]} pixels"
    return given if size is None else f"{given}, and the model takes {size[0]} × {size[1]}"


def _refuse_channels_last(starter: Starter) -> None:
    """Raise RecipeError P081 for a file whose images end with their channels: here they begin with them."""
    for tensor in (starter.onnx or {}).get("inputs", ()):
        shape = tensor["shape"]
        if len(shape) == _IMAGE_DIMENSIONS and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
            refuse(
                f"the model's input {tensor['name']} ({', '.join(map(str, shape))}) has its channels last, and images "
                "are given channels first",
                f"export it again with its channels first, as tf2onnx does by `--inputs-as-nchw {tensor['name']}`",
            )


def _model_size(starter: Starter) -> tuple[int, int] | None:
    """Return the height and width that an ONNX file fixes for its images, channels first; None where it does not."""
    shapes = [tensor["shape"] for tensor in (starter.onnx or {}).get("inputs", ()) if len(tensor["shape"]) == 4]
    if not shapes:
        return None
    height, width = shapes[0][2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _wants_fractions(starter: Starter) -> bool:
    """Whether the model takes fractions: a file that takes bytes normalizes them itself."""
    dtypes = [tensor["dtype"] for tensor in (starter.onnx or {}).get("inputs", ()) if len(tensor["shape"]) == 4]
    return not dtypes or dtypes[0] != "uint8"
