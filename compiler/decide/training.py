"""Settle where the original's weights come from, and what `auto` means among the arguments of its factory."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from titrant.compiler.bind.check_reduction import reduces
from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.compiler.decide.training_step import step_terms
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import LoadedWeights
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.model import WeightsFile
from titrant.schema.recipe.train import Train

# The step size that each optimizer starts well with, for a network of moderate size.
LEARNING_RATES: Mapping[str, float] = {
    "adamw": 1e-3,
    "adam": 1e-3,
    "radam": 1e-3,
    "nadam": 2e-3,
    "adamax": 2e-3,
    "rmsprop": 1e-3,
    "sgd": 1e-2,
    "asgd": 1e-2,
    "adagrad": 1e-2,
    "adafactor": 1e-2,
    "adadelta": 1.0,
}
# What a schedule does; the figures are those of runtime/training/schedules.py.
SCHEDULES: Mapping[str, str] = {
    "constant": "the learning rate stays",
    "linear": "straight down to 0 at the last step",
    "cosine": "down to 0 at the last step, as half a cosine",
    "cosine_warmup": "up for a tenth of the steps, then down to 0 as half a cosine",
    "one_cycle": "up from a twenty-fifth for 30 % of the steps, then down to nearly 0; momentum against it",
    "step": "a tenth of it after each third of the epochs",
    "exponential": "by the same factor an epoch, to a hundredth of it",
    "plateau": "a tenth of it whenever tuning rows have not improved for half of what stops training",
}
# The rates between which the learning-rate finder looks: runtime/training/rate_sweep.py.
SWEPT = (1e-7, 10.0)
# Given weights are moved gently.
FINE_TUNING = 0.1
_KEYS_SHOWN = 4  # keys of a file that a line lists


def training(question: Question) -> RuleAnswer:
    """Settle the parameters of train.fit; None where the weights are taken as they are."""
    train = question.recipe.train
    if train is None:
        weights = question.recipe.model.weights_path or "as the file has them"
        because = "the recipe has no train section"
        line = decision(question, "weights", "training.none", asked="", chosen=weights, because=because)
        return RuleAnswer(None, (line,))
    params, lines = fit_params(question)
    if reduces(question.recipe) and question.recipe.model.weights is not None:
        weights = question.recipe.model.weights_path or "as the file has them"
        because = "the train section is for what the reductions leave"
        line = decision(question, "weights", "training.reduced", asked="", chosen=weights, because=because)
        return RuleAnswer(None, (line, *lines))
    return RuleAnswer(params, (_weights_line(question), *lines))


def fit_params(question: Question) -> tuple[dict[str, Any], tuple[Decision, ...]]:
    """Return the parameters of train.fit by the train section, which the recipe has, and what was decided for it."""
    train = question.recipe.train
    assert train is not None
    rate, rate_line = _learning_rate(question, train)
    loss, loss_line = _loss(question, train)
    stop = train.early_stop
    params: dict[str, Any] = {
        "epochs": train.epochs,
        "batch_size": train.batch_size,
        "optimizer": train.optimizer,
        **({"find_learning_rate": True} if rate is None else {"learning_rate": rate}),
        "weight_decay": train.weight_decay,
        "loss": loss,
        "early_stop": stop is not None,
        "deterministic": question.recipe.reproducibility.deterministic,
    }
    if stop is not None:
        params |= {"patience": stop.patience, "metric": stop.metric}
    terms = (*_terms(question, train), *step_terms(question, train, params))
    params |= {key: value for key, value, _ in terms} | _watched(question, train)
    lines = (rate_line, loss_line, *dict.fromkeys(line for _, _, line in terms), _stop_line(question, train))
    return params, (*lines, *_saved_lines(question, train))


def _terms(question: Question, train: Train) -> Iterator[tuple[str, Any, Decision]]:
    """Yield what is asked for beside the usual: the parameter of train.fit, its value and its line."""
    if train.class_weights is not None:
        weights, because = _class_weights(question, train.class_weights)
        names = question.data.class_values or question.data.classes
        chosen = _some(tuple(f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True)))
        asked = "balanced" if train.class_weights == "balanced" else "by class"
        yield "class_weights", weights, _asked(question, "class_weights", asked, chosen, because)
    if train.label_smoothing:
        chosen = f"{train.label_smoothing:g} of a label is spread over all classes"
        line = _asked(question, "label_smoothing", f"{train.label_smoothing:g}", chosen)
        yield "label_smoothing", train.label_smoothing, line
    if train.schedule is not None:
        chosen = SCHEDULES[train.schedule]
        yield "schedule", train.schedule, _asked(question, "schedule", train.schedule, chosen)
    if train.gradient_clip is not None:
        asked = f"{train.gradient_clip:g}"
        chosen = f"gradients with an L2 norm above {asked} are scaled down to it"
        yield "gradient_clip", train.gradient_clip, _asked(question, "gradient_clip", asked, chosen)
    if train.accumulate > 1:
        chosen = f"a step after {train.accumulate} batches: {train.accumulate * train.batch_size:,} cases"
        yield "accumulate", train.accumulate, _asked(question, "accumulate", str(train.accumulate), chosen)


def _asked(question: Question, key: str, asked: str, chosen: str, because: str = "the recipe says so") -> Decision:
    subject, path = f"train.{key}", ("train", key)
    return decision(question, subject, f"{key}.written", asked=asked, chosen=chosen, because=because, path=path)


def _class_weights(question: Question, asked: Literal["balanced"] | Mapping[str, float]) -> tuple[list[float], str]:
    """Return a weight for each class in the order of the outputs; balanced: rows / (classes · rows of the class)."""
    names = question.data.class_values or question.data.classes
    if asked != "balanced":
        return [float(asked.get(name, 1.0)) for name in names], "the recipe says so; what it leaves out counts 1"
    rows = question.data.roles["train"].classes
    seen = [name for name in names if rows.get(name)]
    total = sum(rows[name] for name in seen)
    weights = [total / (len(seen) * rows[name]) if name in seen else 1.0 for name in names]
    return weights, "every class weighs as much as another: rows / (classes · rows of the class), of train rows"


def _watched(question: Question, train: Train) -> dict[str, Any]:
    """Return what is kept and watched while training, where the recipe says more than train.fit does by itself."""
    params: dict[str, Any] = {} if train.resume else {"resume": False}
    if question.bound.written("train", "checkpoints"):
        params["checkpoints"] = train.checkpoints.model_dump()
    if not isinstance(train.watch_gradients, bool):
        params["watch_gradients"] = train.watch_gradients.model_dump()
    elif not train.watch_gradients:
        params["watch_gradients"] = None
    return params


def _saved_lines(question: Question, train: Train) -> Iterator[Decision]:
    if question.bound.written("train", "checkpoints"):
        saved = train.checkpoints
        yield decision(
            question,
            "train.checkpoints",
            "checkpoints.written",
            asked="written",
            chosen=f"the best {saved.keep_best} by {saved.metric} and the latest, of every {saved.every} epochs",
            because="the recipe says so; they stay in the run's folder",
            path=("train", "checkpoints"),
        )


def _weights_line(question: Question) -> Decision:
    weights = question.recipe.model.weights_path
    if weights is None:
        chosen, because = "fitted on train rows", "the factory comes without weights"
    else:
        chosen, because = f"{weights}, fine-tuned on train rows", "weights and a train section: the result is original"
    return decision(question, "weights", "training.original", asked="", chosen=chosen, because=because, path=("train",))


def _learning_rate(question: Question, train: Train) -> tuple[float | None, Decision]:
    asked = train.learning_rate
    if train.find_learning_rate:
        because = f"where the loss falls fastest in a sweep from {SWEPT[0]:g} to {SWEPT[1]:g} on train rows"
        path = ("train", "find_learning_rate")
        line = decision(
            question, "train.learning_rate", "learning_rate.found", asked="auto", chosen="found by the step",
            because=because, path=path,
        )  # fmt: skip
        return None, line
    if asked != "auto":
        chosen, rule, because = asked, "learning_rate.written", "the recipe says so"
    else:
        chosen, rule = LEARNING_RATES[train.optimizer], "learning_rate.auto"
        because = f"what {train.optimizer} starts well with"
        if question.recipe.model.weights is not None and not reduces(question.recipe):
            chosen *= FINE_TUNING
            because += ", a tenth of it since the weights are given"
    line = decision(
        question,
        "train.learning_rate",
        rule,
        asked=f"{asked:g}" if isinstance(asked, float) else asked,
        chosen=f"{chosen:g}",
        because=because,
        path=("train", "learning_rate"),
    )
    return chosen, line


def _loss(question: Question, train: Train) -> tuple[str, Decision]:
    if train.loss is not None:
        chosen, rule, because = train.loss, "loss.written", "the recipe says so"
    elif _one_output(question):
        chosen, rule, because = "binary_cross_entropy_with_logits", "loss.task", "the model gives one number a case"
    else:
        chosen, rule, because = "cross_entropy", "loss.task", "the model gives a number for each class"
    asked = train.loss or "from task"
    line = decision(question, "train.loss", rule, asked=asked, chosen=chosen, because=because, path=("train", "loss"))
    return chosen, line


def _one_output(question: Question) -> bool:
    shape = question.model.outputs[0].shape if question.model.outputs else ()
    return len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)


def _stop_line(question: Question, train: Train) -> Decision:
    stop = train.early_stop
    written = question.bound.written("train", "early_stop")
    if stop is None:
        chosen, because = "never", "the recipe switches it off; the best epoch's weights are kept"
    else:
        chosen = f"after {stop.patience} epochs without a better {stop.metric}"
        because = "the recipe says so" if written else "more epochs would only overfit; the best weights are kept"
    return decision(
        question,
        "train.early_stop",
        "early_stop.written" if written else "early_stop.default",
        asked="written" if written and stop is not None else "none" if written else "not written",
        chosen=chosen,
        because=because,
        path=("train", "early_stop"),
    )


def model_args(question: Question) -> RuleAnswer:
    """Resolve `features` and `classes` from the data as it is after the transforms."""
    args: dict[str, Any] = dict(question.recipe.model.args)
    lines: list[Decision] = []
    for name in ("features", "classes"):
        if args.get(name) == "auto":
            args[name], because = _features(question) if name == "features" else _classes(question)
            lines.append(
                decision(
                    question,
                    f"model.args.{name}",
                    f"model_args.{name}",
                    asked="auto",
                    chosen=str(args[name]),
                    because=because,
                    path=("model", "args", name),
                )
            )
    return RuleAnswer(args, tuple(lines))


def _classes(question: Question) -> tuple[int, str]:
    classes = question.data.classes
    if not classes:
        raise _unknown(question, "classes", "the data has no labels")
    return len(classes), f"the label has the values {_some(classes)}"


def _features(question: Question) -> tuple[int, str]:
    inputs = question.data.inputs
    if len(inputs) != 1:
        raise _unknown(question, "features", f"the data gives {len(inputs)} inputs and not one")
    sizes = [size for size in inputs[0].shape[1:] if isinstance(size, int)]
    shape = " × ".join(map(str, sizes))
    return math.prod(sizes), f"a case has {shape} numbers after the transforms"


def _unknown(question: Question, name: str, reason: str) -> RecipeError:
    where = question.bound.parsed.source.place(("model", "args", name), "value")
    return RecipeError(Diagnostic("R136", f"`{name}: auto` cannot be resolved: {reason}", where, "write the number"))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} … ({len(names)})"


def weights(question: Question) -> RuleAnswer:
    """Show how the file fits; a state dict of the model's own names and types needs no line. Settles nothing."""
    loaded = question.model.weights
    return RuleAnswer(None) if loaded is None else RuleAnswer(None, tuple(_lines(question, loaded)))


def _lines(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    fits = f"names and shapes fit: {_tensors(loaded.tensors)}, {loaded.elements:,} numbers"
    written = question.recipe.model.weights
    said = written if isinstance(written, WeightsFile) else None
    left = tuple(Rejected(name, f"{_tensors(count)} left out") for name, count in loaded.left_out[:_KEYS_SHOWN])
    if loaded.key or loaded.left_out or (said is not None and said.key is not None):
        under = f"those under `{loaded.key}`" if loaded.key else "those at the top"
        asked = "" if said is None or said.key is None else f"key {said.key!r}"
        because = fits if asked == "" else f"the recipe says so; {fits}"
        yield _weights_detail(
            question, "weights key", "key", f"{under} of {loaded.file}", because, asked=asked, rejected=left
        )
    if loaded.prefix:
        asked = "" if said is None or said.prefix is None else f"prefix {said.prefix!r}"
        chosen = f"`{loaded.prefix}` is removed from {_names(loaded.tensors)}"
        yield _weights_detail(
            question, "weights prefix", "prefix", chosen, "the model's names begin after it", asked=asked
        )
    if loaded.added:
        chosen = f"`{loaded.added}` is put before {_names(loaded.tensors)}"
        yield _weights_detail(question, "weights prefix", "added", chosen, "the model has it before all of its names")
    if loaded.wrappers:
        parts = ", ".join(f"`{part}`" for part in loaded.wrappers)
        because = "torch.compile, FSDP or activation checkpointing put them there"
        yield _weights_detail(question, "weights names", "wrappers", f"{parts} are dropped from names", because)
    for old, new, count in loaded.casts:
        because = "the factory builds the model so"
        yield _weights_detail(question, "weights type", "type", f"{old} → {new}, {_tensors(count)}", because)
    yield from _beside(question, loaded)


def _beside(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    """Say what is not read, and what the file does not have."""
    if loaded.others:
        more = f" and {len(loaded.others) - _KEYS_SHOWN} more" if len(loaded.others) > _KEYS_SHOWN else ""
        names = ", ".join(loaded.others[:_KEYS_SHOWN]) + more
        yield _weights_detail(
            question, "weights beside", "beside", f"not read: {names}", "they are no tensors of the model"
        )
    if loaded.shards:
        because = f"{loaded.file} names them, and all are there"
        yield _weights_detail(question, "weights shards", "shards", f"{loaded.shards} files as one", because)
    if loaded.counters:
        chosen = f"{loaded.counters:,} batch counters start at 0"
        yield _weights_detail(
            question, "weights counters", "counters", chosen, f"{loaded.file} lacks them; no answer reads them"
        )
    if loaded.tied:
        chosen = f"{_tensors(loaded.tied)} held once"
        yield _weights_detail(
            question, "weights tied", "tied", chosen, "the model ties them to others that the file has"
        )
    if not loaded.values_read:
        chosen = "names and shapes compared so far"
        yield _weights_detail(
            question, "weights values", "values", chosen, "a large file: its values are read when it is loaded"
        )


def _weights_detail(
    question: Question,
    subject: str,
    rule: str,
    chosen: str,
    because: str,
    *,
    asked: str = "",
    rejected: tuple[Rejected, ...] = (),
) -> Decision:
    path, name = ("model", "weights"), f"weights.{rule}"
    return decision(question, subject, name, asked=asked, chosen=chosen, because=because, path=path, rejected=rejected)


def _tensors(count: int) -> str:
    return f"{count:,} tensor" + ("" if count == 1 else "s")


def _names(count: int) -> str:
    return f"{count:,} name" + ("" if count == 1 else "s")
