"""Check the names of scikit-learn's data sets, before anything of it is imported."""

from collections.abc import Iterator

from titrant.compiler.checks.look import Finding, Look, Path, meant

# What `data.source.sklearn` can name; a test holds this equal to what the loader reads.
BUNDLED = ("breast_cancer", "digits", "iris", "wine")


def bundled_sets_exist(look: Look) -> Iterator[Finding]:
    """Refuse a set that scikit-learn does not bring along for classification."""
    source = look.data.source
    named: list[tuple[Path, str | None]] = [(("data", "source", "sklearn"), source.sklearn if source else None)]
    named += [(("data", "sources", name, "sklearn"), one.sklearn) for name, one in (look.data.sources or {}).items()]
    for path, name in named:
        if name is not None and name not in BUNDLED:
            message = f"scikit-learn brings no classification set `{name}`"
            yield look.finding("R118", path, message, meant(name, BUNDLED, "it brings"))
