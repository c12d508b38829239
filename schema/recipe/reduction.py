"""The `reduction` section: pruning, distillation and factorization."""

from typing import Annotated, Literal

from pydantic import Field

from titrant.schema.recipe.model import Model
from titrant.schema.recipe.terms import Auto, Count, Fraction, Off, Pattern, Positive, Ref, Section


class Pruning(Section):
    """Remove weights or channels."""

    method: Literal["auto", "magnitude", "structured", "activation", "n_m"] = Field(
        "auto", description="what is removed"
    )
    sparsity: Auto | Annotated[float, Field(ge=0, lt=1)] = Field("auto", description="fraction of the weights removed")
    schedule: Literal["one_shot", "gradual"] = Field(
        "one_shot", description="at once, or in rounds with training between"
    )
    skip: tuple[Pattern, ...] = Field((), description="module name patterns left dense")
    validate_with: Ref | None = Field(
        None, alias="validate", description="`module:Name`, your own check of the pruned model"
    )


class Distillation(Section):
    """Train a student to answer as the teacher does."""

    teacher: Literal["original"] | Model = Field("original", description="the model that is imitated")
    student: Model | None = Field(None, description="the model that is trained; default: the reduced original")
    temperature: Positive = Field(2.0, description="softening of the teacher's answers")
    weight: Fraction = Field(0.5, description="share of the teacher in the loss; the rest is the labels'")
    layers: tuple[Pattern, ...] = Field((), description="module name patterns whose outputs are imitated too")


class Factorize(Section):
    """Replace weight matrices by two thinner ones."""

    method: Literal["svd"] = Field("svd", description="how the factors are found")
    energy: Fraction | None = Field(None, description="share of the squared singular values that is kept")
    rank: Count | None = Field(None, description="rank that is kept")
    skip: tuple[Pattern, ...] = Field((), description="module name patterns left as they are")


class Reduction(Section):
    """What makes the network itself smaller."""

    pruning: Annotated[Pruning | None, Off] = Field(None, description="remove weights or channels")
    distillation: Annotated[Distillation | None, Off] = Field(None, description="imitate a teacher")
    factorize: Annotated[Factorize | None, Off] = Field(None, description="low-rank factors in place of matrices")
