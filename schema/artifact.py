"""Content-addressed artifacts, as the plan, the store and the record name them."""

from titrant.schema.frozen import dataclass

# Every kind of value that can flow between steps.
KINDS = (
    "tables",  # the data as loaded, by source name
    "split",  # which row of which source has which role
    "rows",  # one role's model-ready arrays, labels, units and subgroups
    "transforms",  # the fitted transforms
    "torch",  # factory + rewrites + safetensors
    "onnx",
    "torchscript",
    "outputs",  # what a model answered for one role
    "value",  # JSON: measurements, operating point, gate results
    "report",  # report.html, report.md, report.json
)


@dataclass(frozen=True)
class Artifact:
    """A stored value: its kind, the BLAKE3 digest of its manifest (hexadecimal), and its size in bytes."""

    kind: str
    digest: str
    size: int
