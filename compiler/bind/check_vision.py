"""Check what masks and boxes ask for: a shape of outputs, a decoding function, nothing about classes of cases."""

from collections.abc import Iterator

from titrant.compiler.bind.bound_recipe import CheckInput, Finding
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.data import Source
from titrant.schema.recipe.model import BOXES
from titrant.schema.recipe.train import Train
from titrant.schema.recipe.validation import Agreement

# Losses that compare each pixel with its class.
OF_PIXELS = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits")
_OBJECTS = ("mask", "boxes")
# Classes of a mask of 8 bits that holds its largest number.
_BYTES = 256


def learns_objects(given: CheckInput, train: Train) -> Iterator[Finding]:
    """Refuse what cannot be learned from masks, and a detector without a loss of the user's own."""
    task, own = given.recipe.task, ":" in (train.loss or "")
    if given.task.label == "boxes" and not own:
        message = "how a detector's raw outputs are compared with boxes depends on the detector"
        path: KeyPath = ("train", "loss") if given.written("train", "loss") else ("train",)
        advice = "write `loss: module:function` of raw outputs and boxes (batch, most, 5), or bring trained weights"
        yield given.finding("R241", path, message, advice)
    elif train.loss is not None and not own and train.loss not in OF_PIXELS:
        message = f"`{train.loss}` compares numbers, and the labels of `task: {task}` are a class for each pixel"
        yield given.finding("R190", ("train", "loss"), message, f"write one of {', '.join(OF_PIXELS)}")
    about_cases: list[KeyPath] = []
    if train.class_weights == "balanced":
        about_cases.append(("train", "class_weights"))
    if train.early_stop is not None and train.early_stop.metric == "tuning accuracy":
        about_cases.append(("train", "early_stop", "metric"))
    if train.checkpoints.metric == "tuning accuracy":
        about_cases.append(("train", "checkpoints", "metric"))
    for path in about_cases:
        message = f"`{path[-1]}` counts cases by their class, and a case of `task: {task}` has several"
        advice = "write a weight for each class" if path[-1] == "class_weights" else "take it out"
        yield given.finding("R191", path, message, advice, part="key")


def masks_are_labels(given: CheckInput) -> Iterator[Finding]:
    """Refuse a folder of masks where none are judged, and images without one where masks are and no label says them."""
    sources: dict[KeyPath, Source | None] = {("data", "source"): given.data.source}
    sources[("data", "unlabeled")] = given.data.unlabeled
    sources |= {("data", "sources", name): source for name, source in (given.data.sources or {}).items()}
    for place, source in sources.items():
        folder = None if source is None else source.image_folder
        if folder is None:
            continue
        path: KeyPath = (*place, "image_folder")
        if folder.masks is not None and (given.task.label != "mask" or place[-1] == "unlabeled"):
            whose = "rows without labels have" if place[-1] == "unlabeled" else f"`task: {given.recipe.task}` has"
            message = f"masks are labels, and {whose} none of these"
            yield given.finding("R231", (*path, "masks"), message, "take it out, or write `task: segmentation`")
        elif folder.masks is None and given.task.label == "mask" and place[-1] != "unlabeled":
            message = "the images have no masks, which `task: segmentation` judges by"
            advice = "write `image_folder: {path: …, masks: …}`: a folder with a mask of the same name for each image"
            yield given.finding("R231", path, message, advice)


def boxes_are_decoded(given: CheckInput) -> Iterator[Finding]:
    """Ask for `model.decode` where boxes are judged, and refuse it where none are."""
    recipe, decode = given.recipe, given.recipe.model.decode
    said = recipe.validation.agreement
    if recipe.task == "detection" and decode is None:
        message = "a detector's raw outputs are no boxes yet, and `model.decode` does not say how they become some"
        advice = "name a function of one case's raw outputs: `decode: my_code:boxes` under `model`"
        yield given.finding("R242", ("model",), message, advice)
    elif decode is not None and recipe.task not in ("detection", "unlabeled"):
        message = f"`decode` makes boxes, and `task: {recipe.task}` judges none"
        yield given.finding("R243", ("model", "decode"), message, "take it out, or write `task: detection`", part="key")
    elif decode is None and isinstance(said, Agreement) and said.measure == "boxes":
        message = "boxes are compared once they are decoded, and `model.decode` names no function"
        yield given.finding("R242", ("validation", "agreement", "measure"), message, "add `decode: …` under `model`")
    if decode is not None and recipe.model.output is not None:
        message = f"what is judged is what `decode` makes, the output `{BOXES}`; `output` would say nothing"
        yield given.finding("R243", ("model", "output"), message, "take it out: `decode` takes the raw outputs by name")


def measures_fit(given: CheckInput) -> Iterator[Finding]:
    """Refuse a measure of masks or boxes for what holds none, and any other for boxes."""
    said = given.recipe.validation.agreement
    if said is None or given.classifying:
        return
    alone = isinstance(said, Agreement)
    for name, item in {"": said}.items() if isinstance(said, Agreement) else said.items():
        path: KeyPath = ("validation", "agreement") if alone else ("validation", "agreement", name)
        if given.recipe.model.decode is not None and item.measure not in ("auto", "boxes"):
            message = f"`{item.measure}` compares numbers, and the model's answers are boxes"
            yield given.finding("R243", (*path, "measure"), message, "write `measure: boxes`")
        if item.measure == "boxes" and item.tolerance is not None:
            message = "`boxes` match from an overlap of .5 on, with scores at most .1 apart, and take no tolerance"
            yield given.finding("R112", (*path, "tolerance"), message, "take it out", part="key")


def cases_have_one_class(given: CheckInput) -> Iterator[Finding]:
    """Refuse what is about classes of cases."""
    if given.task.label not in _OBJECTS:
        return
    split = given.data.split
    if given.written("data", "split", "stratify") and split.stratify:
        message = f"rows are stratified by their class, and a case of `task: {given.recipe.task}` has several"
        yield given.finding("R245", ("data", "split", "stratify"), message, "take it out", part="key")


def masks_fit(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Check that the output that is judged has a number for each class and pixel, or one for each pixel."""
    if given.task.label != "mask" or not model.outputs or not data.classes:
        return
    specs = given.recipe.model.output or ()
    first = specs[0].name if specs and specs[0].name else model.outputs[0].name
    judged = next((spec for spec in model.outputs if spec.name == first), None)
    if judged is None:
        return
    shape, classes = judged.shape, len(data.classes)
    channels = shape[1] if len(shape) == 4 else 1
    shown = f"({', '.join(map(str, shape))})"
    path: KeyPath = ("model", "args", "classes") if given.written("model", "args", "classes") else ("model",)
    if len(shape) not in (3, 4):
        message = f"the model's output `{judged.name}` is {shown}, and a mask is (batch, classes, height, width)"
        yield given.finding("R137", path, message, "name the output that holds masks in `model.output`")
    elif isinstance(channels, int) and channels not in (1, classes):
        message = f"the model's output `{judged.name}` is {shown}, and the masks have {classes} classes"
        advice = "`data.classes` lists all of the model's classes, in the order of its channels"
        if classes == _BYTES:  # masks in black and white, whose numbers nobody listed
            advice += ": `classes: [0, 255]` for masks in black and white"
        yield given.finding("R137", path, message, advice)
