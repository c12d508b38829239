"""Settle how weights are fitted: by what, for how long, in which precision, and which activations are kept."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from titrant.compiler.bind.check_reduction import reduces
from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.runtime import catalog
from titrant.schema.cost import NOTHING_KNOWN
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.tasks import TASKS
from titrant.schema.recipe.train import Distributed, Train
from titrant.schema.values.layout import CHANNELS_LAST
from titrant.schema.values.units import format_size

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


# Share of the machine's memory up to which a training is left as it is, and the ratios that are tried above it.
_MEMORY_SHARE = 0.8
_RATIOS = (0.25, 0.5, 0.75, 1.0)


def training(question: Question) -> RuleAnswer:
    """Settle the parameters of train.fit; None where the weights are taken as they are."""
    train = question.recipe.train
    if train is None:
        weights = question.recipe.model.weights_path or "as the file has them"
        because = "the recipe has no train section"
        line = decision(question, "weights", "training.none", asked="", chosen=weights, because=because)
        return RuleAnswer(None, (line,))
    params, lines = fit_params(question)
    reduced = reduces(question.recipe)
    if (reduced or train.quantization_aware) and question.recipe.model.weights is not None:
        weights = question.recipe.model.weights_path or "as the file has them"
        because = f"the train section is for {'what the reductions leave' if reduced else 'candidates in int8'}"
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
        **({"layout": CHANNELS_LAST} if question.recipe.memory.layout == CHANNELS_LAST else {}),
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
    if train.momentum is not None:
        chosen = f"{train.momentum:g} of the step before is added to each"
        yield "momentum", train.momentum, _asked(question, "momentum", f"{train.momentum:g}", chosen)
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
    if question.bound.written("train", "checkpoints"):
        saved = train.checkpoints
        epochs = "epoch" if saved.every == 1 else f"{saved.every} epochs"
        chosen = f"every {epochs}; the best {saved.keep_best} by {saved.metric} and the latest stay in the run's folder"
        yield "checkpoints", saved.model_dump(), _asked(question, "checkpoints", "written", chosen)
    if not train.resume:
        chosen = "a training that was ended begins anew"
        yield "resume", False, _asked(question, "resume", "false", chosen)
    watched = train.watch_gradients
    if not isinstance(watched, bool):
        chosen = f"those of {watched.pattern}: a layer's norm from {watched.vanishing:g} to {watched.exploding:g}"
        chosen += f", all of them up to {watched.global_norm:g}"
        yield "watch_gradients", watched.model_dump(), _asked(question, "watch_gradients", "written", chosen)
    elif not watched:
        line = _asked(question, "watch_gradients", "false", "gradients are not looked at")
        yield "watch_gradients", None, line


def _asked(question: Question, key: str, asked: str, chosen: str, because: str = "the recipe says so") -> Decision:
    subject, path = f"train.{key}", ("train", key)
    return decision(question, subject, f"{key}.written", asked=asked, chosen=chosen, because=because, path=path)


def _class_weights(
    question: Question, asked: Literal["balanced"] | Mapping[str, float]
) -> tuple[tuple[float, ...], str]:
    """Return a weight for each class in the order of the outputs; balanced: rows / (classes · rows of the class)."""
    names = question.data.class_values or question.data.classes
    if asked != "balanced":
        return tuple(float(asked.get(name, 1.0)) for name in names), "the recipe says so; what it leaves out counts 1"
    rows = question.data.roles["train"].classes
    seen = [name for name in names if rows.get(name)]
    total = sum(rows[name] for name in seen)
    weights = tuple(total / (len(seen) * rows[name]) if name in seen else 1.0 for name in names)
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
    elif TASKS[question.recipe.task].label == "labels":
        chosen, rule, because = (
            "binary_cross_entropy_with_logits",
            "loss.task",
            "the model gives a number for each label",
        )
    elif TASKS[question.recipe.task].label == "numbers":
        chosen, rule, because = "mse_loss", "loss.task", "the labels are numbers"
    elif TASKS[question.recipe.task].label == "tokens":
        chosen, rule, because = "cross_entropy", "loss.task", "each position is to give a token"
    elif TASKS[question.recipe.task].label == "mask":
        single = _one_channel(question)
        chosen, rule = "binary_cross_entropy_with_logits" if single else "cross_entropy", "loss.task"
        because = f"the model gives {'one number' if single else 'a number for each class'} a pixel"
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


def _one_channel(question: Question) -> bool:
    shape = question.model.outputs[0].shape if question.model.outputs else ()
    return len(shape) == 3 or (len(shape) == 4 and shape[1] == 1)


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


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} … ({len(names)})"


def step_terms(question: Question, train: Train, params: Mapping[str, Any]) -> Iterator[tuple[str, Any, Decision]]:
    """Yield what differs from fp32 and all activations kept: the parameter of train.fit, its value and its line."""
    if question.bound.written("train", "precision"):
        yield "precision", *_precision(question, train)
    if train.distributed is not None:
        yield "processes", train.distributed.processes, _processes(question, train.distributed)
    if question.recipe.memory.gradient_checkpointing is not None:
        ratio, line = _recomputing(question, params)
        params = {**params, "gradient_checkpointing": ratio}
        yield "gradient_checkpointing", ratio, line
    if question.recipe.memory.offload != "none":
        yield "offload_above_bytes", *_offloading(question, params)


def _precision(question: Question, train: Train) -> tuple[str, Decision]:
    asked = train.precision
    chosen, because = asked, "the recipe says so; weights and the optimizer stay fp32, and the gain is measured"
    rejected: tuple[Rejected, ...] = ()
    if asked == "auto":
        chosen, because = "fp32", "on a processor, so that the weights do not depend on whether it computes in bf16"
        rejected = (Rejected("bf16", "it is taken where it is written; small layers become slower by it"),)
    elif asked == "fp32":
        because = "the recipe says so"
    return chosen, decision(
        question,
        "train.precision",
        "precision.auto" if asked == "auto" else "precision.written",
        asked=asked,
        chosen=chosen,
        because=because,
        path=("train", "precision"),
        rejected=rejected,
    )


def _processes(question: Question, asked: Distributed) -> Decision:
    processes, cores = asked.processes, question.hardware.identity.cores
    because = "the recipe says so; how it scales is measured"
    if processes * question.settled.threads.making > cores:
        because += f"; the machine has {cores} cores for them"
    return decision(
        question,
        "train.distributed",
        "distributed.written",
        asked=f"{processes} processes",
        chosen=f"{processes} processes share each batch over gloo",
        because=because,
        path=("train", "distributed"),
    )


def _recomputing(question: Question, params: Mapping[str, Any]) -> tuple[float, Decision]:
    asked = question.recipe.memory.gradient_checkpointing
    if asked == "auto":
        ratio, because = _by_memory(question, params)
        text, rule = "auto", "gradient_checkpointing.auto"
    else:
        assert asked is not None
        ratio, because = asked, "the recipe says so; what it saves and costs is predicted and measured"
        text, rule = f"{asked:g}", "gradient_checkpointing.written"
    chosen = f"{ratio:.0%} of the layers compute their activations again" if ratio else "all activations are kept"
    path = ("memory", "gradient_checkpointing")
    line = decision(
        question, "memory.gradient_checkpointing", rule, asked=text, chosen=chosen, because=because, path=path
    )
    return ratio, line


def _offloading(question: Question, params: Mapping[str, Any]) -> tuple[int | None, Decision]:
    """Return how much a step keeps in memory before the disk takes the rest, None for all, and the line of it."""
    memory, total = question.recipe.memory, question.hardware.identity.memory_bytes
    peak, without = _peak_bytes(question, params), _peak_bytes(question, {**params, "offload_above_bytes": 0})
    above: int | None = 0
    because = f"how much memory {'the machine has' if total is None else 'training takes'} is not known"
    if total is not None and peak is not None and without is not None:
        allowed = int(memory.offload_from * total)
        above = max(0, allowed - without)
        because = f"{memory.offload_from:.0%} of the memory is {format_size(allowed)}, training takes "
        because += format_size(peak) + (f", {format_size(without)} without them" if peak > allowed else ", which fits")
        above = None if memory.offload == "auto" and peak <= allowed else above
    elif memory.offload == "auto":
        above = None
    chosen = "all activations stay in memory" if above is None else f"activations above {format_size(above)} a step"
    line = decision(
        question,
        "memory.offload",
        "offload.auto" if memory.offload == "auto" else "offload.written",
        asked=memory.offload,
        chosen=chosen if above is None else f"{chosen} lie on the disk until the backward pass",
        because=because,
        path=("memory", "offload"),
    )
    return above, line


def _by_memory(question: Question, params: Mapping[str, Any]) -> tuple[float, str]:
    """Return the least ratio with which training is predicted to fit into memory, and why."""
    total = question.hardware.identity.memory_bytes
    if total is None:
        return 0.0, "how much memory the machine has is not known"
    allowed = int(_MEMORY_SHARE * total)
    before = _peak_bytes(question, params)
    if before is None:
        return 0.0, "how much memory training takes is not known"
    limit = f"{_MEMORY_SHARE:.0%} of the memory is {format_size(allowed)}"
    if before <= allowed:
        return 0.0, f"training takes {format_size(before)}, and {limit}"
    for ratio in _RATIOS:
        peak = _peak_bytes(question, {**params, "gradient_checkpointing": ratio})
        if peak is not None and peak <= allowed:
            return ratio, f"training takes {format_size(before)}, so {format_size(peak)}; {limit}"
    return _RATIOS[-1], f"training takes {format_size(before)}, and {limit}; lower train.batch_size as well"


def _peak_bytes(question: Question, params: Mapping[str, Any]) -> int | None:
    fit = catalog.get("train.fit")
    return fit.predict(fit.params(**params), question.hardware, question.model, NOTHING_KNOWN).peak_bytes
