"""What the decision rules settle, as one frozen value that lowering turns into steps."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from titrant.schema.frozen import dataclass
from titrant.schema.gate import Contract
from titrant.schema.plan import Decision


@dataclass(frozen=True)
class Chain:
    """One candidate to make: a method with its options, and the engine and format that it ends in.

    `method` is "none" for a plain conversion. `rank` orders from gentle (0) to aggressive.
    """

    id: str
    method: str
    bits: int | None
    engine: str
    format: str
    rank: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportRequest:
    """One format asked for ("auto": whichever of the chains' formats wins), and the stem of its file."""

    format: str
    name: str
    opset: int | None = None


@dataclass(frozen=True)
class Decisions:
    """Every choice with its reason (`decisions`), and the settings that follow from them."""

    decisions: tuple[Decision, ...]
    level: str
    device: str
    threads: int
    timing_threads: int
    original_engine: str
    model_args: Mapping[str, Any]  # `auto` resolved
    training: Mapping[str, Any] | None  # parameters of train.fit; None: the weights are given
    exports: tuple[ExportRequest, ...]
    chains: tuple[Chain, ...]
    objective: tuple[str, ...]
    shortlist: int
    operating_point: Mapping[str, Any]  # parameters of validate.operating_point
    profile: Mapping[str, Any]  # batches, iterations, warmup
    contract: Contract
    warnings: tuple[str, ...] = ()
