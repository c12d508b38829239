"""A model's architecture as somebody holds it: its layers, and how to see them."""

from pathlib import Path

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.instruments.architecture.complexity import BlockShare, block_shares
from titrant.runtime.instruments.architecture.draw import overview
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph, Operation
from titrant.runtime.instruments.architecture.model_page import model_sections
from titrant.runtime.instruments.architecture.page import architecture_sections
from titrant.runtime.page.section import PageSection
from titrant.runtime.page.write import page_html
from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.facts import ModelFacts
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason


@dataclass(frozen=True)
class Architecture:
    """A model's layers and how data flows through them; `facts` are what else is known of it, None of a live module."""

    graph: LayerGraph
    facts: ModelFacts | None = None

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The layers and operations in the order in which they run, or are registered where that is not known."""
        return self.graph.operations

    @property
    def parameters(self) -> int:
        """All parameters, shared ones once."""
        return self.graph.parameters

    @property
    def flops(self) -> int | None:
        """The FLOPs of one case, two per multiply-add; None where those of no operation are known."""
        return self.graph.flops

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not drawn, and what is not known."""
        return self.graph.notes

    def blocks(self, most: int = 16) -> tuple[BlockShare, ...]:
        """Return the parameters and FLOPs of about `most` blocks, the largest of them divided further."""
        return block_shares(self.graph, most)

    def plot(self, boxes: int = 40) -> ChartPicture:
        """Return the drawing: blocks are opened, the largest first, as long as at most `boxes` boxes stand in it."""
        return overview(self.graph, boxes)

    def sections(self) -> tuple[PageSection, ...]:
        """Return the sections of a page: facts where there are any, drawing, complexity, layers and parameters."""
        drawn = architecture_sections(self.graph)
        shown = sum(not operation.hidden for operation in self.operations)
        return drawn if self.facts is None else model_sections(self.facts, drawn, shown)

    def save(self, file: Path | str) -> Path:
        """Write the drawing (.svg), or a page (.html) that also has every closed block, the complexity and the layers.

        Returns the path. RecipeError X662 for any other suffix, X721 where the file cannot be written.
        """
        path = Path(file)
        suffix = path.suffix.lower()
        if suffix not in (".svg", ".html", ".htm"):
            message = f"an architecture cannot be saved as {path.name}"
            raise RecipeError(Diagnostic("X662", message, help="give it a name that ends in .svg or .html"))
        if suffix == ".svg":
            text = self.plot().alone()
        else:
            text = page_html(self.graph.name, self.sections(), brand="titrant inspect")
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            message = f"{path} cannot be written: {os_reason(error)}"
            raise RecipeError(Diagnostic("X721", message, help="name a file in a folder that may be written")) from None
        return path

    def _repr_svg_(self) -> str:
        """Show the drawing where a notebook shows the value of a cell."""
        return self.plot().alone()
