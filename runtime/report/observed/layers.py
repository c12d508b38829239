"""The layers of the original and of what is released: a table, bars, and a roofline of each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from titrant.runtime.charts.section import Section, SectionTable
from titrant.runtime.instruments.layers.bars import bars_picture
from titrant.runtime.instruments.layers.figures import LayerProfile, table_cells, table_head
from titrant.runtime.instruments.layers.roofline import MachineLimits, roofline_of, roofline_points
from titrant.schema.values.canonical import read_back

TRACES = "traces"
_NUMBERS = frozenset({2, 3, 4, 5, 6})
_SENTENCE = (
    "What each layer takes in one batch, and in which precision it is executed. What the engine does between layers, "
    "and operations of no layer, are one row."
)


def layers_section(seen: Mapping[str, Any]) -> Section:
    """List every layer by model, draw their times, and set them below what the machine reached."""
    tables, pictures, notes = [], [], []
    for place, (name, value) in enumerate(seen.items()):
        profile = layer_profile(name, value)
        tables.append(_table(name, profile))
        pictures.append(bars_picture(profile, f"layers{place}").svg)
        limits = value["limits"]
        if limits and limits.get("bytes"):
            reached = MachineLimits(
                {key: rate for key, rate in limits.items() if key != "bytes" and rate}, limits["bytes"]
            )
            if roofline_points(profile, reached):
                pictures.append(roofline_of(profile, reached, f"roofline{place}").svg)
        notes += [f"{name}: {text}." for text in profile.warnings()]
        if profile.spans:
            notes.append(
                f"{name}: a timeline of one batch stands in {TRACES}/{name}.json, which ui.perfetto.dev opens."
            )
    return Section("layers", "Layers", _SENTENCE, tuple(tables), tuple(pictures), tuple(notes))


def layer_profile(name: str, value: Mapping[str, Any]) -> LayerProfile:
    """Return the profile of a model as it stands in a record."""
    own = {key: item for key, item in value.items() if key != "limits"}
    return replace(read_back(LayerProfile, own), model=name)


def _table(name: str, profile: LayerProfile) -> SectionTable:
    rows = tuple(table_cells(profile, layer) for layer in profile.layers)
    return SectionTable(table_head(), rows, f"{name}: {'; '.join(profile.below())}", _NUMBERS)
