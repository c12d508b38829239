"""Versions of the installed libraries that can change a result, from package metadata alone."""

from titrant.schema.installed_versions import installed_version

# Libraries whose version can change bytes, numbers or what is possible here.
LIBRARIES = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "jinja2",
    "matplotlib",
    "mlx",
    "nncf",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "openvino",
    "optuna",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "tensorrt",
    "tokenizers",
    "torch",
    "torch-pruning",
    "torchao",
    "torchvision",
    "transformers",
)


def installed(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Return the version of every named library that is installed, sorted by name; nothing is imported."""
    return {name: version for name in sorted(names) if (version := installed_version(name)) is not None}
