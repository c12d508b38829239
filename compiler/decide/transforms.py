"""Say where the figures of every transform come from: rows of this run, the recipe, or a file."""

from titrant.compiler.decide.rule import Question, RuleAnswer, decision
from titrant.schema.facts import TransformFacts
from titrant.schema.plan import Decision
from titrant.schema.recipe.recipe import Recipe

_SHOWN = 6
# What a recipe can write in place of fitting.
FIGURES = {"standardize": "{mean, std}", "impute": "{values}", "one_hot": "{values}"}


def transforms(question: Question) -> RuleAnswer:
    """Show what was fitted on which rows, what was given, and what was loaded; nothing is settled by it.

    Of a model that was trained elsewhere its transforms were fitted elsewhere too: fitting them here is another
    preparation than it was trained with, and is said to be.
    """
    facts = question.data.transforms
    loaded = [item for item in facts if item.origin == "loaded"]
    lines = [_loaded(question, loaded)] if loaded else []
    lines += [_line(question, place, item) for place, item in enumerate(facts) if item.origin in ("fitted", "given")]
    unlisted = tuple(
        f"{count:,} of {question.data.rows:,} rows have a value of `{name}` for which `one_hot` has no column: "
        "they get zeros, as a value that the training did not know"
        for item in facts
        if item.origin in ("given", "loaded")
        for name, count in item.unlisted.items()
    )
    return RuleAnswer(None, tuple(lines), unlisted)


def trained_here(recipe: Recipe) -> bool:
    """Whether the model learns from these rows, and not only its transforms do."""
    return recipe.model.factory is not None and recipe.model.weights is None and recipe.train is not None


def _line(question: Question, place: int, item: TransformFacts) -> Decision:
    path = ("data", "transform", place)
    if item.origin == "given":
        chosen, because = f"{_columns(item)} as given", "the recipe has the figures of the training"
        rule, asked = "transforms.given", "written"
    else:
        chosen, rule, asked = f"fitted on the {item.rows:,} {item.role} rows", "transforms.fitted", "not given"
        because = "the model is trained on them"
        if not trained_here(question.recipe):
            because = (
                f"not where the model was trained: write {FIGURES[item.name]} of its training, or data.transform_from"
            )
    if item.values:
        chosen += f", {'; '.join(f'{name}: {_some(values)}' for name, values in item.values.items())}"
    return decision(question, item.name, rule, asked=asked, chosen=chosen, because=because, path=path)


def _loaded(question: Question, items: list[TransformFacts]) -> Decision:
    file = question.recipe.data.transform_from if question.recipe.data is not None else None
    names = ", ".join(item.name for item in items)
    return decision(
        question,
        "data.transform",
        "transforms.loaded",
        asked=str(file),
        chosen=f"{names} of {file}",
        because="they were fitted elsewhere, and nothing is fitted here",
        path=("data", "transform_from"),
    )


def _columns(item: TransformFacts) -> str:
    return _some(item.columns)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
