"""The levels: how far optimization may go, and the thresholds that come with it."""

from typing import Literal, get_args

Level = Literal["auto", "minimal", "balanced", "aggressive", "medical_critical"]
LEVEL_NAMES: tuple[Level, ...] = get_args(Level)
