"""Check that the keys of `train` fit the task, the outputs, the classes and each other."""

from collections.abc import Iterator, Mapping

from titrant.compiler.bind.bound_recipe import CheckInput, Finding, meant
from titrant.compiler.bind.check_vision import learns_objects
from titrant.runtime import catalog
from titrant.runtime.backends import backend
from titrant.schema.facts import DataFacts, ModelFacts
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.tasks import OutputKind
from titrant.schema.recipe.train import Train
from titrant.schema.values.layout import CHANNELS_LAST, CONVOLUTIONS

ONE_LOGIT = "binary_cross_entropy_with_logits"
_OF_PROBABILITIES: tuple[OutputKind, ...] = ("probabilities",)
# What a loss computes with; a user's own takes whatever it likes.
LOSS_KINDS: Mapping[str, tuple[OutputKind, ...]] = {
    "cross_entropy": ("logits", "log_probabilities"),
    ONE_LOGIT: ("logits",),
    "nll_loss": ("log_probabilities",),
    "mse_loss": _OF_PROBABILITIES,
    "l1_loss": _OF_PROBABILITIES,
    "smooth_l1_loss": _OF_PROBABILITIES,
    "huber_loss": _OF_PROBABILITIES,
}
OF_NUMBERS = tuple(name for name, kinds in LOSS_KINDS.items() if kinds == _OF_PROBABILITIES)
OF_TOKENS = ("cross_entropy", "nll_loss")
ACCURACY = "tuning accuracy"
WITH_MOMENTUM = ("sgd", "rmsprop")
_KIND_ADVICE: Mapping[OutputKind, str] = {
    "logits": "write `loss: cross_entropy`; or `model.output.kind`, where the outputs are something else",
    "probabilities": "write `loss: mse_loss`, or leave the last softmax or sigmoid out of the model",
    "log_probabilities": "write `loss: nll_loss`, or leave the last softmax out of the model",
}


def training_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse training where there are no labels, and a loss that does not take the outputs."""
    train = given.recipe.train
    if train is None:
        return
    if not given.labelled:
        message = f"training needs labels, and `task: {given.recipe.task}` has none"
        advice = "take `train` out, or choose a labelled task"
        yield given.finding("R117", ("train",), message, advice, part="key")
    elif given.task.label == "groups":
        yield from _learns_likeness(given, train)
    elif given.task.label in ("mask", "boxes"):
        yield from learns_objects(given, train)
    elif not given.classifying:
        yield from _learns_numbers(given, train)
    elif train.loss is None:
        yield from _takes_logits(given)
    else:
        yield from _takes_outputs(given, train.loss)
    yield from _terms_fit(given, train)
    if train.find_learning_rate and train.learning_rate != "auto":
        message = f"a sweep shall find the learning rate, and it is written: {train.learning_rate:g}"
        path = ("train", "find_learning_rate")
        yield given.finding("R192", path, message, "take `learning_rate` out, or `find_learning_rate`")
    if train.momentum is not None and train.optimizer not in WITH_MOMENTUM:
        message = f"{train.optimizer} takes no momentum"
        advice = f"take it out, or write optimizer: {WITH_MOMENTUM[0]}"
        yield given.finding("R203", ("train", "momentum"), message, advice)
    yield from _checkpoints_fit(given, train)


def recomputing_trains(given: CheckInput) -> Iterator[Finding]:
    """Refuse to save the activations of a training where nothing is trained."""
    if given.recipe.train is None and given.recipe.memory.gradient_checkpointing is not None:
        message = "activations are computed again in a backward pass, and nothing is trained"
        path = ("memory", "gradient_checkpointing")
        yield given.finding("R194", path, message, "take it out, or add a `train` section", part="key")


def offload_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse activations that go where they are already, or to the disk where no single process keeps them."""
    memory, train = given.recipe.memory, given.recipe.train
    path = ("memory", "offload")
    if memory.offload == "none":
        if given.written("memory", "offload_from"):
            message = "nothing leaves the memory, whatever its share: `memory.offload` is none"
            advice = "write `offload: disk` or `auto`, or take it out"
            yield given.finding("R255", ("memory", "offload_from"), message, advice, part="key")
    elif train is None:
        message = "activations of a training go to the disk, and nothing is trained: weights stay in memory"
        advice = "take it out, or add a `train` section; fewer bits (`quantization`) make weights smaller"
        yield given.finding("R253", path, message, advice, part="key")
    elif memory.offload == "cpu":
        message = "training runs on the processor, and activations are in its memory already"
        yield given.finding("R252", path, message, "write `disk`, or set `gradient_checkpointing`")
    elif train.distributed is not None:
        message = "activations go to the disk where one process trains"
        yield given.finding("R254", path, message, "take it out, or `train.distributed`", part="key")


def layout_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse a layout in memory for a model whose file says it: torch lays out modules that it builds."""
    source, path = given.recipe.model.source, ("memory", "layout")
    kinds = [kind for kind in backend.kinds().values() if source in kind.sources]
    if given.recipe.memory.layout != "auto" and kinds and not any(kind.layout for kind in kinds):
        message = f"how weights lie in memory is chosen for a torch module, and the model is {kinds[0].title}"
        yield given.finding("R237", path, message, "take it out, or give the module as `model.factory`", part="key")


def convolutions_exist(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse channels last where no convolution has them."""
    asked, path = given.recipe.memory.layout, ("memory", "layout")
    if asked == CHANNELS_LAST and not any(layer.type in CONVOLUTIONS for layer in model.layers):
        message = "no layer is a convolution over two or three dimensions, whose weights could lie channels last"
        yield given.finding("R238", path, message, "take it out")


def processes_fit(given: CheckInput) -> Iterator[Finding]:
    """Refuse what training in several processes does not do."""
    train = given.recipe.train
    if train is None or train.distributed is None:
        return
    processes, at = train.distributed.processes, ("train", "distributed")
    if train.distributed.strategy == "fsdp":
        message = "shards of a model are for several GPUs, and training runs on the processor"
        yield given.finding("R196", (*at, "strategy"), message, "write `strategy: ddp`")
    if train.batch_size < 2 * processes:
        message = f"{processes} processes share a batch of {train.batch_size}, and each needs two cases"
        yield given.finding("R195", (*at, "processes"), message, f"set `batch_size` to {2 * processes} or more")
    reduction = given.recipe.reduction
    pruning = None if reduction is None else reduction.pruning
    if pruning is not None and pruning.schedule == "gradual":
        message = "masks that rise while a network is trained are chosen in one process"
        advice = "write `schedule: one_shot`, after which several processes train, or take `train.distributed` out"
        yield given.finding("R195", ("reduction", "pruning", "schedule"), message, advice, part="key")


_ROUNDING: KeyPath = ("train", "quantization_aware")


def rounding_fits(given: CheckInput) -> Iterator[Finding]:
    """Refuse quantization-aware training for what is not quantized with fixed ranges, and beside other trainings."""
    recipe, train = given.recipe, given.recipe.train
    if train is None or not train.quantization_aware:
        return
    method = recipe.quantization.method
    if method == "none":
        message = "int8 would be imitated in training, and `quantization.method` is none: nothing is quantized after it"
        yield given.finding("R247", _ROUNDING, message, "take it out, or leave `quantization.method` out", part="key")
    elif method != "auto" and method not in imitated_methods():
        message = f"training imitates int8 with ranges that are fixed beforehand, and `{method}` is not such a method"
        yield given.finding(
            "R248", _ROUNDING, message, f"name {' or '.join(imitated_methods())}, or take it out", part="key"
        )
    if train.distributed is not None:
        message = "`quantization_aware` finds the ranges of activations in one process"
        path = ("train", "distributed")
        yield given.finding("R249", path, message, "take it out, or `quantization_aware`", part="key")
    if recipe.reduction is None:
        return
    if recipe.reduction.distillation is not None:
        message = "a student learns from its teacher in fp32, and int8 would be imitated in a training of its own"
        advice = "distil in one recipe, and name its weights in another that trains for int8"
        yield given.finding("R250", _ROUNDING, message, advice, part="key")
    pruning = recipe.reduction.pruning
    if pruning is not None and pruning.schedule == "gradual":
        message = "masks rise in a training of their own, and int8 would be imitated in another"
        yield given.finding(
            "R250", _ROUNDING, message, "write `schedule: one_shot` under `pruning`, or take it out", part="key"
        )
    elif pruning is not None and pruning.sparsity == "auto" and pruning.blocks is None:
        message = "how far the network is pruned is found by trying, and each stage would be trained twice"
        yield given.finding("R251", _ROUNDING, message, "write `sparsity` or `blocks` under `pruning`", part="key")


def imitated_methods() -> list[str]:
    """List the methods that a training can imitate: int8, with ranges that are fixed beforehand."""
    names = catalog.quantization_methods()
    methods = ((name, catalog.get(catalog.method_operator(name)).method) for name in names)
    return [name for name, method in methods if method is not None and method.fake_quantization is not None]


def _output_kind(given: CheckInput) -> OutputKind:
    """Return what the first output is said to be; logits where nothing is said, as judging has it."""
    outputs = given.recipe.model.output or ()
    return (outputs[0].kind if outputs else None) or "logits"


def _learns_numbers(given: CheckInput, train: Train) -> Iterator[Finding]:
    """Refuse what is about classes where the labels are numbers, or tokens."""
    task = given.recipe.task
    fitting = {"labels": (ONE_LOGIT,), "tokens": OF_TOKENS}.get(given.task.label, OF_NUMBERS)
    if train.loss in LOSS_KINDS and train.loss not in fitting:
        message = f"`{train.loss}` does not compare with what `task: {task}` has for labels"
        yield given.finding("R190", ("train", "loss"), message, f"write {' or '.join(fitting)}")
    elif given.task.label == "tokens":
        yield from _takes_kind(given, train.loss or OF_TOKENS[0])
    of_classes: list[KeyPath] = []
    if train.class_weights is not None:
        of_classes.append(("train", "class_weights"))
    if train.early_stop is not None and train.early_stop.metric == ACCURACY:
        of_classes.append(("train", "early_stop", "metric"))
    if train.checkpoints.metric == ACCURACY:
        of_classes.append(("train", "checkpoints", "metric"))
    for path in of_classes:
        message = f"`{path[-1]}` is about classes, and `task: {task}` has none"
        yield given.finding("R191", path, message, "take it out", part="key")


def _takes_kind(given: CheckInput, loss: str) -> Iterator[Finding]:
    kind = _output_kind(given)
    if loss in LOSS_KINDS and kind not in LOSS_KINDS[loss]:
        message = f"`{loss}` does not take {kind}, which `model.output` says the outputs are"
        yield given.finding("R190", ("train", "loss"), message, _KIND_ADVICE.get(kind, ""))


def _learns_likeness(given: CheckInput, train: Train) -> Iterator[Finding]:
    """An embedding is learned from which rows are alike: by a loss of the user's own alone."""
    if not given.labels_named:
        message = f"training needs labels, and `task: {given.recipe.task}` has none here"
        advice = "name the column that says which rows belong together in data.label, or take `train` out"
        yield given.finding("R117", ("train",), message, advice, part="key")
    elif train.loss is None or train.loss in LOSS_KINDS:
        message = "no loss of this version compares embeddings with each other"
        advice = "write one of your own, `loss: module:Name`, of the embeddings (batch, …) and the group of each row"
        yield given.finding("R190", ("train", "loss"), message, advice, part="key")


def _takes_logits(given: CheckInput) -> Iterator[Finding]:
    kind = _output_kind(given)
    if kind in ("probabilities", "log_probabilities"):
        message = f"training needs logits, and the model gives {kind}"
        loss = "mse_loss" if kind == "probabilities" else "nll_loss"
        advice = (
            f"leave the last softmax or sigmoid out of the model, and write `kind: logits`; or `train.loss: {loss}`"
        )
        path = ("model", "output", 0, "kind") if given.written("model", "output", 0) else ("model", "output", "kind")
        yield given.finding("R117", path, message, advice)


def _takes_outputs(given: CheckInput, loss: str) -> Iterator[Finding]:
    kind, takes = _output_kind(given), LOSS_KINDS.get(loss)
    if takes is None or kind in takes or kind not in _KIND_ADVICE:
        return
    said = "are" if given.recipe.model.output and given.recipe.model.output[0].kind else "are taken for"
    message = f"`{loss}` computes with {' or '.join(takes)}, and the model's outputs {said} {kind}"
    yield given.finding("R190", ("train", "loss"), message, _KIND_ADVICE[kind])


def _terms_fit(given: CheckInput, train: Train) -> Iterator[Finding]:
    """Refuse label smoothing and class weights for a loss that has no place for them."""
    loss = train.loss or ""
    own, of_numbers = ":" in loss, LOSS_KINDS.get(loss) == _OF_PROBABILITIES
    if train.label_smoothing and (own or of_numbers):
        reason = "is called with output and labels alone" if own else "has no label that is spread"
        advice = "smooth in the loss itself" if own else "write `loss: cross_entropy`, or take it out"
        yield given.finding("R191", ("train", "label_smoothing"), f"`{loss}` {reason}", advice)
    if train.class_weights is not None and own:
        message = f"`{loss}` is called with output and labels alone"
        yield given.finding("R191", ("train", "class_weights"), message, "weigh the classes in the loss itself")


def _checkpoints_fit(given: CheckInput, train: Train) -> Iterator[Finding]:
    """Refuse checkpoints of which the worst are kept, and such as are never saved."""
    saved = train.checkpoints
    right, word = ("max", "largest") if saved.metric == "tuning accuracy" else ("min", "smallest")
    if saved.mode != right:
        at = "mode" if given.written("train", "checkpoints", "mode") else "metric"
        message = f"the best {saved.metric} is the {word}, and `mode` is `{saved.mode}`"
        yield given.finding("R197", ("train", "checkpoints", at), message, f"write `mode: {right}`")
    if saved.every > train.epochs:
        message = f"{train.epochs} epochs end before the first checkpoint, after {saved.every}"
        yield given.finding("R198", ("train", "checkpoints", "every"), message, f"write {train.epochs} or less")


def watched_parameters_exist(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse a pattern that is the name of a layer: parameters are watched, whose names go on after it."""
    watched = None if given.recipe.train is None else given.recipe.train.watch_gradients
    if watched is None or isinstance(watched, bool):
        return
    name = watched.pattern
    if any(layer.name == name or layer.name.startswith(f"{name}.") for layer in model.layers):
        message = f"`{name}` is a layer, and parameters are watched by their names, such as `{name}.weight`"
        path = ("train", "watch_gradients", "pattern")
        yield given.finding("R199", path, message, f"write `pattern: {name}.*`")


def training_has_classes(given: CheckInput, model: ModelFacts, data: DataFacts) -> Iterator[Finding]:
    """Refuse a loss that cannot compare the outputs with as many classes, and weights of classes that are not there."""
    train, classes = given.recipe.train, data.class_values or data.classes
    if train is None or not classes or given.task.label == "labels":
        return
    shape = model.outputs[0].shape if model.outputs else ()
    single = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if given.task.label == "mask":  # one number for each pixel
        single = len(shape) == 3 or (len(shape) == 4 and shape[1] == 1)
    each = "a pixel" if given.task.label == "mask" else "a case"
    path: KeyPath = ("train", "loss")
    shown = f"({', '.join(map(str, shape))})"
    if train.loss == ONE_LOGIT and shape and not single:
        message = f"`{ONE_LOGIT}` takes one number {each}, and the model gives {shown}"
        yield given.finding("R190", path, message, "write `loss: cross_entropy`")
    elif train.loss in ("cross_entropy", "nll_loss") and single:
        message = f"`{train.loss}` takes a number for each class, and the model gives {shown}"
        yield given.finding("R190", path, message, f"write `loss: {ONE_LOGIT}`")
    if isinstance(train.class_weights, Mapping):
        for name in train.class_weights:
            if name not in classes:
                advice = meant(name, classes, "the label has")
                message = f"the label has no class `{name}`"
                yield given.finding("R193", ("train", "class_weights", name), message, advice, part="key")
