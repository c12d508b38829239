"""What a quantization method does to each layer, as far as the plan can tell."""

from titrant.schema.frozen import dataclass


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one type that share one fate: `because` says why they stay as they are, "" where they are quantized."""

    type: str
    layers: tuple[str, ...]
    weight_bytes: int
    because: str = ""


@dataclass(frozen=True)
class Coverage:
    """What one method would do to every layer with weights; `candidate` says whether the plan makes it."""

    method: str
    candidate: bool
    groups: tuple[LayerGroup, ...]

    @property
    def share(self) -> float:
        """The fraction of the weights' bytes, 0..1, in the layers that it touches."""
        whole = sum(group.weight_bytes for group in self.groups)
        return sum(group.weight_bytes for group in self.groups if not group.because) / whole if whole else 0.0
