"""The networks of the benchmark as recipes, and the folder with everything that these name."""

import shutil
from pathlib import Path

from titrant.schema.values.frozen import dataclass

HERE = Path(__file__).parent
# Modules that the recipes name, copied beside them.
MODULES = (HERE / "halves.py", HERE / "clipped.py")
# Points of accuracy that may be lost; all networks answer about so many of the test rows rightly.
TOLERANCES, ACCURACY = (0.5, 1.0), 0.907
RECIPE = """\
titrant: 1
name: {name}
level: balanced
task: multiclass_classification
model: {{factory: "{factory}", weights: {weights}}}
data:
  source: {{factory: "halves:load", args: {{seed: {seed}}}}}
  inputs: [image]
  label: label
  split: {{tuning: tuning, calibration: calibration, evaluation: judge, overlap: drop, stratify: false}}
target: {{engine: onnxruntime}}
quantization: {{method: ort.static}}
export: [{{format: onnx}}]
validation: {{retention: {retention:.5f}, require: evidence}}
profile: {{batches: [1], iterations: {iterations}}}
"""


@dataclass(frozen=True)
class TitrationCase:
    """One network with what may be lost, in points of accuracy; `gain` is what its release must reach over the best
    uniform file that keeps the contract, and `repairs` whether a repair is to reach it or a mix.
    """

    network: str
    factory: str
    points: float
    gain: float
    repairs: bool

    @property
    def name(self) -> str:
        """Name the case."""
        return f"{self.network}-{self.points:g}"

    def recipe(self, cache: Path, *, seed: int = 0, quick: bool = False) -> str:
        """Return the recipe, with its rows parted by `seed`."""
        return RECIPE.format(
            name=self.name,
            factory=self.factory,
            weights=cache / f"{self.network}.pt",
            seed=seed,
            retention=1 - self.points / 100 / ACCURACY,
            iterations=100 if quick else 300,
        )


CASES = (
    *(TitrationCase("mbx", "nets:Depthwise", points, 1.25, repairs=True) for points in TOLERANCES),
    *(TitrationCase("mbr", "nets:Depthwise", points, 1.25, repairs=True) for points in TOLERANCES),
    TitrationCase("clipped", "clipped:Clipped", 0.5, 1.10, repairs=False),
    TitrationCase("clipped", "clipped:Clipped", 1.0, 1.20, repairs=False),
)
# With every rival these end within twenty minutes.
QUICK = ("mbx-0.5", "mbr-0.5", "clipped-1")


def lay_out(folder: Path, data: Path, cache: Path, case: TitrationCase, *, seed: int = 0, quick: bool = False) -> Path:
    """Write a recipe into a folder, with the modules that it names; return its place."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in (*MODULES, data / "small_nets" / "nets.py"):
        shutil.copy(module, folder / module.name)
    recipe = folder / f"{case.name}-{seed}.yaml"
    recipe.write_text(case.recipe(cache, seed=seed, quick=quick), "utf-8")
    return recipe
