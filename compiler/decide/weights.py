"""Say where in a weights file the model's tensors were found, and what was adjusted or left out to take them."""

from collections.abc import Iterator

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import LoadedWeights
from titrant.schema.plan import Decision, Rejected
from titrant.schema.recipe.model import WeightsFile

_SHOWN = 4  # keys that a line lists


def weights(question: Question) -> RuleAnswer:
    """Show how the file fits; a state dict of the model's own names and types needs no line. Settles nothing."""
    loaded = question.model.weights
    return RuleAnswer(None) if loaded is None else RuleAnswer(None, tuple(_lines(question, loaded)))


def _lines(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    fits = f"names and shapes fit: {_tensors(loaded.tensors)}, {loaded.elements:,} numbers"
    written = question.recipe.model.weights
    said = written if isinstance(written, WeightsFile) else None
    left = tuple(Rejected(name, f"{_tensors(count)} left out") for name, count in loaded.left_out[:_SHOWN])
    if loaded.key or loaded.left_out or (said is not None and said.key is not None):
        under = f"those under `{loaded.key}`" if loaded.key else "those at the top"
        asked = "" if said is None or said.key is None else f"key {said.key!r}"
        because = fits if asked == "" else f"the recipe says so; {fits}"
        yield _line(question, "weights key", "key", f"{under} of {loaded.file}", because, asked=asked, rejected=left)
    if loaded.prefix:
        asked = "" if said is None or said.prefix is None else f"prefix {said.prefix!r}"
        chosen = f"`{loaded.prefix}` is removed from {_names(loaded.tensors)}"
        yield _line(question, "weights prefix", "prefix", chosen, "the model's names begin after it", asked=asked)
    if loaded.added:
        chosen = f"`{loaded.added}` is put before {_names(loaded.tensors)}"
        yield _line(question, "weights prefix", "added", chosen, "the model has it before all of its names")
    if loaded.wrappers:
        parts = ", ".join(f"`{part}`" for part in loaded.wrappers)
        because = "torch.compile, FSDP or activation checkpointing put them there"
        yield _line(question, "weights names", "wrappers", f"{parts} are dropped from names", because)
    for old, new, count in loaded.casts:
        because = "the factory builds the model so"
        yield _line(question, "weights type", "type", f"{old} → {new}, {_tensors(count)}", because)
    yield from _beside(question, loaded)


def _beside(question: Question, loaded: LoadedWeights) -> Iterator[Decision]:
    """Say what is not read, and what the file does not have."""
    if loaded.others:
        more = f" and {len(loaded.others) - _SHOWN} more" if len(loaded.others) > _SHOWN else ""
        names = ", ".join(loaded.others[:_SHOWN]) + more
        yield _line(question, "weights beside", "beside", f"not read: {names}", "they are no tensors of the model")
    if loaded.shards:
        because = f"{loaded.file} names them, and all are there"
        yield _line(question, "weights shards", "shards", f"{loaded.shards} files as one", because)
    if loaded.counters:
        chosen = f"{loaded.counters:,} batch counters start at 0"
        yield _line(question, "weights counters", "counters", chosen, f"{loaded.file} lacks them; no answer reads them")
    if loaded.tied:
        chosen = f"{_tensors(loaded.tied)} held once"
        yield _line(question, "weights tied", "tied", chosen, "the model ties them to others that the file has")
    if not loaded.values_read:
        chosen = "names and shapes compared so far"
        yield _line(question, "weights values", "values", chosen, "a large file: its values are read when it is loaded")


def _line(
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
