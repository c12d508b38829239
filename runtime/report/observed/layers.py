"""The layers of the original and of what is released: a table, bars and a roofline of each, and their timelines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from titrant.runtime.charts.alone import ChartPicture
from titrant.runtime.instruments.layers.figures import LayerProfile, table_cells, table_head
from titrant.runtime.instruments.layers.layer import LayerFigures
from titrant.runtime.instruments.layers.roofline import MachineLimits, roofline_picture, roofline_points
from titrant.runtime.page.section import PageSection, PageTable, TableCell, TableColumn
from titrant.schema.values.canonical import read_back

OPERATOR, TRACES = "profile.layers", "traces"
_SENTENCE = (
    "What each layer takes in one batch, and in which precision it is executed. What the engine does between layers, "
    "and operations of no layer, are one row."
)
# The columns of the table that hold numbers, and what each of them is sorted by.
_SORTED_BY = {
    2: lambda layer: layer.time,
    3: lambda layer: layer.share,
    4: lambda layer: layer.parameters,
    5: lambda layer: layer.activation_bytes,
    6: lambda layer: layer.flops,
}
_SHARE = 3


def layers_section(seen: Mapping[str, Any]) -> PageSection:
    """List every layer by model, draw their times, and set them below what the machine reached."""
    inner = tuple(_of_model(place, name, value) for place, (name, value) in enumerate(seen.items()))
    return PageSection("layers", "Layers", _SENTENCE, inner=inner)


def _of_model(place: int, name: str, value: Mapping[str, Any]) -> PageSection:
    profile = layer_profile(name, value)
    pictures = [profile.plot(f"layers{place}"), *_roofline(profile, value["limits"], f"roofline{place}")]
    notes = [f"{text}." for text in profile.warnings()]
    if profile.spans:
        notes.append(f"A timeline of one batch stands in {TRACES}/{name}.json, which ui.perfetto.dev opens.")
    columns = tuple(TableColumn(head, numeric=at in _SORTED_BY) for at, head in enumerate(table_head()))
    table = PageTable(columns, tuple(map(_row, profile.layers)))
    sentence = "; ".join(profile.below())
    return PageSection(f"layers-{place}", name, sentence, table, tuple(pictures), notes=tuple(notes))


def _row(layer: LayerFigures) -> tuple[TableCell, ...]:
    return tuple(
        TableCell(
            words, _SORTED_BY[at](layer) if at in _SORTED_BY else None, share=layer.share if at == _SHARE else None
        )
        for at, words in enumerate(table_cells(layer))
    )


def _roofline(profile: LayerProfile, limits: Mapping[str, float | None] | None, name: str) -> Iterator[ChartPicture]:
    """Draw the roofline where the machine's limits were measured, and a layer multiplies."""
    reached = limits_of(limits)
    if reached is not None and roofline_points(profile.layers, reached):
        yield roofline_picture(profile.layers, profile.subject, reached, name)


def limits_of(limits: Mapping[str, float | None] | None) -> MachineLimits | None:
    """Return what a machine was measured to reach, as it stands in a record; None where it was not."""
    memory = limits["bytes"] if limits else None
    ceilings = {key: rate for key, rate in (limits or {}).items() if key != "bytes" and rate}
    return MachineLimits(ceilings, memory) if memory and ceilings else None


def layer_profile(name: str, value: Mapping[str, Any]) -> LayerProfile:
    """Return the profile of a model as it stands in a record."""
    own = {key: item for key, item in value.items() if key != "limits"}
    return replace(read_back(LayerProfile, own), model=name)


def write_traces(folder: Path, observed: Sequence[Mapping[str, Any]]) -> None:
    """Write the timeline of every model whose calls a record keeps, as `traces/<model>.json` in a run's folder."""
    for row in observed:
        if row["operator"] == OPERATOR and row["value"] and row["value"]["spans"]:
            (folder / TRACES).mkdir(exist_ok=True)
            layer_profile(row["subject"], row["value"]).save_trace(folder / TRACES / f"{row['subject']}.json")
