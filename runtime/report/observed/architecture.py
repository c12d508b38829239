"""The architecture of the original and of what is released, drawn: whole, and by block."""

from collections.abc import Iterator, Mapping
from typing import Any

from titrant.runtime.instruments.architecture.fold import folded
from titrant.runtime.instruments.architecture.layer_graph import LayerGraph
from titrant.runtime.instruments.architecture.page import complexity_section, drawing_section
from titrant.runtime.page.section import PageSection
from titrant.schema.values.canonical import read_back

_SENTENCE = "Data flows downwards; a block that repeats stands once, with how often it does."
# Drawings of single blocks, of all models together: a report is a file that people send.
_BLOCKS = 16


def architecture_section(seen: Mapping[str, Any]) -> PageSection | None:
    """Draw each model that could be followed, and say of the others why they could not; None where nothing is drawn.

    Results of earlier versions of titrant have no architecture, and are left out.
    """
    drawn = {name: read_back(LayerGraph, value["architecture"]) for name, value in seen.items() if _has(value)}
    inner = tuple(part for name, graph in drawn.items() for part in _of_model(name, graph, _BLOCKS // len(drawn)))
    notes = tuple(f"{name} is not drawn: {value['undrawn']}." for name, value in seen.items() if value.get("undrawn"))
    if not inner and not notes:
        return None
    return PageSection("architecture", "Architecture", _SENTENCE if inner else "", inner=inner, notes=notes)


def _has(value: Mapping[str, Any]) -> bool:
    return value.get("architecture") is not None


def _of_model(name: str, graph: LayerGraph, blocks: int) -> Iterator[PageSection]:
    """Yield a model's drawing with its blocks, and where its parameters and FLOPs are."""
    whole = folded(graph)
    yield drawing_section(graph, whole, f"{name}: {graph.name}", f"architecture-{name}", blocks)
    yield from complexity_section(graph, whole, f"{name}: complexity", f"complexity-{name}")
