"""The `report` section: what is written about the run."""

from typing import Literal

from pydantic import Field

from titrant.schema.recipe.terms import Section, Text


class Report(Section):
    """Formats and what they may show."""

    formats: tuple[Literal["html", "md", "json"], ...] = Field(
        ("html", "md", "json"), min_length=1, description="formats of the report"
    )
    evidence: bool | tuple[Text, ...] | None = Field(
        None, description="evidence files: true, false or a list of them; default: by level"
    )
    tokens: bool = Field(False, description="show tokens of the data (they may be patients' text)")
