"""The pages of the recipe's sections: a few words and an example each; keys and defaults come from the models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """What stands on one section's page beside its keys; `example` is YAML that parses within a minimal recipe."""

    words: str
    example: str


TOP = Page(
    """A recipe is a YAML file in git beside the code. `titrant`, `name`, `task` and `model` must be written;
`level` and the machine fill in the rest, and the plan says how. Text means what YAML 1.2 says: `no` and `on` are
text. Anchors, aliases, tags and merge keys are refused, so that one line means one thing. Sizes and times carry
their unit (`200 KiB`, `5 ms`), fractions are 0..1 and never percent.

`extends` names a recipe that this one changes, one level deep: mappings merge, lists and single values replace,
`none` takes out. Paths in the base stay relative to the base. `--set a.b=v` on the command line comes last.
`titrant explain RECIPE PATH` says where a value comes from.

What a level supplies where the recipe does not say otherwise:

{levels}

`auto` chooses among methods by the model's size, and keeps the thresholds of balanced. A model under 100 MB stays as it
is, unless `quantization` is written, or a limit under `target` asks for a smaller or faster file.""",
    """titrant: 1
name: tumor-size
description: What the clinic's tablets run.
level: medical_critical
task: binary_classification
seed: 7
""",
)
PAGES = {
    "reproducibility": Page(
        """Training and calibration repeat to the byte with the same number of threads on the same machine. Another
number gives other bytes, so it is part of every result's key. Timing has threads of its own: `target.threads`.""",
        "reproducibility: {deterministic: true, threads: 1}\n",
    ),
    "model": Page(
        """The network: a `factory` in a module of your own beside the recipe (or installed), or a file. Exactly one
of `factory`, `onnx`, `torchscript`, `exported`, `huggingface`. A factory without `weights` needs a `train` section;
`included` says that the factory loads its own. Weights are read without running code from them. `features` and
`classes` in `args` may be `auto`: they are then counted in the data.""",
        """model:
  factory: titrant.recipes.models:TabularNet
  args: {features: auto, classes: auto}
  output: {name: logits, kind: logits}
""",
    ),
    "data": Page(
        """The rows, and who may see them: *train* fits, *tuning* chooses, *calibration* calibrates, *evaluation*
judges. What chooses never judges. `split.by` a column keeps, say, a patient's rows together and makes the patient
the unit of every test. Transforms are fitted on train rows (calibration rows for a trained model), and shipped with
the model. How a csv file is written (encoding, separator, decimal comma, missing marks) is found and said in the plan,
or stated (`csv: {path: ward.csv, separator: ";"}`); where two readings give other values, it is refused with the line
to write. Without `data`, a model of `task: unlabeled` with `model.inputs` is compared with its original on random
inputs.""",
        """data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  transform: [{impute: {strategy: median}}, standardize]
  split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3, stratify: true}
  subgroups: {tumor_size: {column: mean radius, bins: [12, 16]}}
""",
    ),
    "target": Page(
        """Where the released model runs, and what it must fit there. Each limit is a row of the contract. Latency
is measured at `batch`, with `threads`, the original and the candidates taking turns in one process; a p95 is proven
from at least 59 timed runs. Where a limit cannot be kept by any file, the plan says so before anything runs.

`device: auto` is the CPU, where the int8 methods run; the plan says what the original is expected to take there and,
beside it, on an accelerator. On `cuda` and `mps` the int8 methods of this version do not run: what is made there is the
model as it is and cast to 16 bits, in bf16, or in fp16 on a GPU that does not compute in bf16.""",
        """target:
  engine: onnxruntime
  threads: 1
  latency: {p95: 5 ms, batch: 1}
  size: 200 KiB
""",
    ),
    "train": Page(
        """Without weights, this fits the original. With weights and no `reduction`, it fine-tunes the original,
which is then the reference; else it trains back what a reduction lost, or
[trains for int8](../../how-to/quantization-aware.md). Early stopping watches tuning rows and keeps the
best weights. Optimizers, schedules and losses are torch's own, bit for bit; a loss must fit what `model.output.kind`
says of the outputs. [What each key does](../../how-to/train.md).""",
        "train: {epochs: 30, optimizer: adamw, learning_rate: 0.001, schedule: cosine, gradient_clip: 1.0}\n",
    ),
    "reduction": Page(
        "Fewer weights before fewer bits: pruning, distillation, low-rank factors.",
        "reduction: {pruning: {method: structured, sparsity: 0.3}}\n",
    ),
    "quantization": Page(
        """Fewer bits for numbers. `auto` makes and measures every method that can work here and lets tuning rows
choose; `none` still exports, judges and releases; a name makes that method the only candidate. `options` are that
operator's own: `titrant show operators quantize.ort_static`. With `bits`
only what has these bits is a candidate, on any level; where no method gives them, the recipe is refused.
`skip` and `only` keep layers in their precision: [what then really runs](../../how-to/keep-layers.md).
`module:function` names an operator of your own.""",
        "quantization: {method: ort.static, bits: 8, options: {per_channel: true}}\n",
    ),
    "search": Page(
        """What is looked for among candidates that keep the contract, first things first. Choice is a function of
recorded measurements: a gap counts only beyond its own interval, and above 3 % in time or 10 % in anything else. Where
there is none the next objective decides; ties go to the smaller, then the more faithful file. Where the runs leave open
whether a file is slower than a gentler one by a tenth, no later objective decides. [A metric of your
own](../../how-to/own-metric.md) may stand among the objectives.

What cannot win by what is expected of it is not made, and `budget` says how many of the others are: see
[how the search is kept short](../../how-to/limit-the-search.md).""",
        "search: {objective: [latency, size], budget: {evaluations: 4, minutes: 10}}\n",
    ),
    "memory": Page(
        "Less memory while titrant works and while the model serves.", "train: {epochs: 5}\nmemory: {offload: auto}\n"
    ),
    "batching": Page(
        "How requests become batches where the model is served.",
        "batching: {size: auto, strategy: timeout, max_wait: 5 ms}\n",
    ),
    "export": Page(
        """The files to release, each judged by itself: what was judged is, byte for byte, what is released. `auto`
is the format of whichever candidate wins. A format that cannot hold the chosen method is refused before anything
runs. Beside the judged bytes a released file says which recipe made it and what it was judged by.""",
        "export: [{format: onnx, name: tumor, opset: 17}]\n",
    ),
    "validation": Page(
        """The contract. Every gate is judged on evaluation rows by a one-sided bound at `confidence`: PASS when the
bound reaches the threshold, FAIL when the other bound does not, else INCONCLUSIVE. All must pass. Under `require:
proof` an INCONCLUSIVE gate is not let through; under `evidence` it is, where its estimate is good, as "not proven".
A subgroup with fewer than `min_cases` cases leaves its `bias` rows open, unless the candidate changes none of its
answers. A gate keeps a metric from getting worse: `rise_at_most` and `at_most` belong to metrics of which less is
better, as `brier` is, the other way round to the rest, and the wrong word is refused.
What the recipe does not say, the level supplies; `none` switches a preset off, visibly. What `baseline` asks is asked
of the original alone, and before anything is made of it.
`regression` and `anchor` compare with [earlier releases](../../how-to/compare-with-earlier-releases.md), `preset` is a
[published set](../../decisions/scenarios.md), and `accept` lets [a gate through until a
day](../../how-to/waive-a-gate.md).""",
        """validation:
  retention: 0.97
  safety: {kept: 0.99, sensitivity: 0.95}
  bias: {at_least: 0.8, metric: sensitivity, min_cases: 50}
  calibration: {rise_at_most: 0.02}
  clinical_relevance: 0.9
  gates:
    - {metric: auroc, comparison: drop_at_most, threshold: 0.01}
    - {metric: sensitivity, slice: subgroup tumor_size.large, comparison: at_least, threshold: 0.9}
  baseline: {metric: accuracy, at_least: 0.9}
  accept: [{gate: bias.tumor_size.small/large, reason: few small tumors, by: J. Doe, until: 2027-01-31}]
  operating_point: {sensitivity: 0.98}
  confidence: 0.95
  require: proof
""",
    ),
    "profile": Page(
        "What is measured of every candidate beside its answers.",
        "profile: {batches: [1, 8, 32], iterations: 200, warmup: 20}\n",
    ),
    "inspect": Page("What is looked at inside the model.", "inspect: {summary: true}\n"),
    "report": Page(
        "What is written about a run: `report.html`, `report.md` and `report.json` in its folder.",
        "report: {formats: [html, md, json]}\n",
    ),
    "tracking": Page(
        "Experiment trackers that follow a run's journal.",
        "tracking: {wandb: {project: tumors, mode: offline}}\n",
    ),
}
# What an example stands in; a section that the example has takes the place of the one here.
MINIMAL = {
    "titrant": "titrant: 1\n",
    "name": "name: example\n",
    "task": "task: binary_classification\n",
    "model": 'model: {factory: "titrant.recipes.models:TabularNet", args: {features: 30, classes: 2}}\n',
    "data": """data:
  source: {sklearn: breast_cancer}
  label: target
  positive: malignant
  subgroups: {tumor_size: {column: mean radius, values: {small: 1, large: 2}}}
""",
    "train": "train: {epochs: 3}\n",
}


def whole(example: str) -> str:
    """Return an example as a whole recipe."""
    own = {line.partition(":")[0] for line in example.splitlines() if line[:1].isalpha()}
    return "".join(text for key, text in MINIMAL.items() if key not in own) + example
