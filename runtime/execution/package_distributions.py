"""The distributions that importable packages come from."""

from functools import cache

from titrant.schema.installed_versions import installed_version


@cache
def distributions(package: str) -> tuple[str, ...]:
    """Return the distributions that an importable package comes from: nearly always the one of its own name."""
    return (package,) if installed_version(package) is not None else tuple(_by_package().get(package, ()))


@cache
def _by_package() -> dict[str, list[str]]:
    from importlib import metadata

    return {name: list(found) for name, found in metadata.packages_distributions().items()}
