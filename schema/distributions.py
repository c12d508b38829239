"""Which installed distribution brings a package."""

from collections.abc import Collection, Mapping

# Packages that another distribution brings as well: onnxruntime-gpu is imported as onnxruntime.
ALSO_IN: Mapping[str, tuple[str, ...]] = {"onnxruntime": ("onnxruntime-gpu",)}


def distribution(installed: Collection[str], package: str) -> str | None:
    """Return the name of the installed distribution that brings a package or engine; None where there is none."""
    return next((name for name in (package, *ALSO_IN.get(package, ())) if name in installed), None)
