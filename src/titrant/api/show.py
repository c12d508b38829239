"""List the operators, and show the page of one."""

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError


def operators() -> dict[str, str]:
    """List every built-in operator with its one-line description."""
    from titrant.runtime import catalog

    return {name: catalog.get(name).doc.splitlines()[0] for name in catalog.names()}


def operator_page(name: str) -> str:
    """Return an operator's page: what it does, its parameters and ports; RecipeError names the nearest for a typo."""
    from titrant.runtime import catalog
    from titrant.runtime.operator_pages import page

    require_name(name, catalog.names(), "operator")
    return page(catalog.get(name))


def require_name(name: str, names: tuple[str, ...], noun: str) -> None:
    """Raise RecipeError P004, with the nearest name, for a name that is none of `names`."""
    if name not in names:
        from titrant.schema.language.nearest import nearest

        near = nearest(name, names)
        help_text = f"did you mean '{near}'?" if near else f"there are: {', '.join(names)}"
        raise RecipeError(Diagnostic("P004", f"there is no {noun} '{name}'", help=help_text))
