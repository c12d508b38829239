"""Find the user's own code that the recipe names, and refuse what is not trusted."""

from collections.abc import Iterator

from titrant.compiler.bound import UserReference
from titrant.compiler.checks.find_module import FoundModule, find_module, top_level_names
from titrant.compiler.checks.look import Finding, Look, Path, meant
from titrant.schema.file_digest import digest_file
from titrant.schema.nearest import nearest


def named_references(look: Look) -> Iterator[tuple[Path, str]]:
    """List every `module:Name` of the recipe that this version would import."""
    recipe, data = look.recipe, look.data
    if recipe.model.factory is not None:
        yield ("model", "factory"), recipe.model.factory
    if data.source is not None and data.source.factory is not None:
        yield ("data", "source", "factory"), data.source.factory
    for name, source in (data.sources or {}).items():
        if source.factory is not None:
            yield ("data", "sources", name, "factory"), source.factory
    if ":" in recipe.quantization.method:
        yield ("quantization", "method"), recipe.quantization.method


def user_references(look: Look) -> tuple[UserReference, ...]:
    """Return the references whose modules were found."""
    found = []
    for path, reference in named_references(look):
        module = find_module(reference.partition(":")[0], look.parsed.folder)
        if module is not None:
            key = ".".join(str(part) for part in path)
            trusted = module.origin == "outside" and module.path is not None
            digest = digest_file(module.path) if trusted and module.path is not None else ""
            found.append(UserReference(key, reference, module.origin, module.path, digest))
    return tuple(found)


def bad_references(look: Look) -> Iterator[Finding]:
    """Find modules and names that are not there, and code that nobody has said to trust."""
    for path, reference in named_references(look):
        module, _, name = reference.partition(":")
        if module.split(".")[0] == "__main__":
            advice = "put it into a file beside the recipe and name that"
            yield look.finding("R104", path, "`__main__` is whatever was started, and no module to rely on", advice)
            continue
        found = find_module(module, look.parsed.folder)
        if found is None:
            yield look.finding("R104", path, f"there is no module `{module}`", _near_module(look, module))
        elif found.origin == "outside" and not look.trust:
            place = found.path or "somewhere on the import path"
            message = f"`{module}` lies outside the recipe's folder and the installed environment ({place})"
            advice = "move it beside the recipe, install it, or say --trust to run it"
            yield look.finding("R105", path, message, advice)
        else:
            yield from _bad_name(look, path, found, name)


def _bad_name(look: Look, path: Path, found: FoundModule, name: str) -> Iterator[Finding]:
    if found.path is None or found.path.suffix != ".py":
        return
    names = top_level_names(found.path)
    first = name.split(".", maxsplit=1)[0]
    if names is not None and first not in names:
        public = [one for one in names if not one.startswith("_")]
        advice = meant(first, public, "it has") or "it defines nothing"
        yield look.finding("R106", path, f"{found.path.name} has no `{first}`", advice)


def _near_module(look: Look, module: str) -> str:
    folder = look.parsed.folder
    modules = sorted(
        {file.stem for file in folder.glob("*.py")} | {file.parent.name for file in folder.glob("*/__init__.py")}
    )
    close = nearest(module, modules)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(f"`{one}`" for one in modules[:8]) or "no Python files"
    return f"modules are looked for in {folder} (it has {listed}) and in the installed environment"
