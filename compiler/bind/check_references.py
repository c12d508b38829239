"""Find the user's code that a recipe names, without importing it, and refuse what is missing or not trusted."""

import ast
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path

from titrant.compiler.bind.bound_recipe import CheckInput, CodeOrigin, Finding, UserReference, meant
from titrant.compiler.bind.check_reduction import other_models
from titrant.compiler.bind.factory_kind import OWN, Role, builds, in_standard_library
from titrant.schema.language.nearest import nearest
from titrant.schema.language.spans import KeyPath
from titrant.schema.recipe.reduce import objectives
from titrant.schema.recipe.validation import row_metrics
from titrant.schema.values.files import digest_file
from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class FoundModule:
    """A module that is there: whose code it is, and its file (None where it has none)."""

    origin: CodeOrigin
    path: Path | None


VALIDATE = ("reduction", "pruning", "validate")
# What is called with rows and answers, rather than builds something.
_CALLED: Mapping[KeyPath, str] = {
    ("train", "loss"): "a loss", ("model", "decode"): "a function that makes boxes", VALIDATE: "a check of a model",
}  # fmt: skip


def named_references(given: CheckInput) -> Iterator[tuple[KeyPath, str]]:
    """List every `module:Name` of the recipe that this version would import."""
    recipe, data = given.recipe, given.data
    if recipe.model.factory is not None:
        yield ("model", "factory"), recipe.model.factory
    if recipe.model.decode is not None:
        yield ("model", "decode"), recipe.model.decode
    if data.source is not None and data.source.factory is not None:
        yield ("data", "source", "factory"), data.source.factory
    for name, source in (data.sources or {}).items():
        if source.factory is not None:
            yield ("data", "sources", name, "factory"), source.factory
    if data.unlabeled is not None and data.unlabeled.factory is not None:
        yield ("data", "unlabeled", "factory"), data.unlabeled.factory
    for key, model in other_models(recipe).items():
        if model.factory is not None:
            yield ("reduction", "distillation", key, "factory"), model.factory
    if recipe.train is not None and ":" in (recipe.train.loss or ""):
        yield ("train", "loss"), str(recipe.train.loss)
    pruning = None if recipe.reduction is None else recipe.reduction.pruning
    if pruning is not None and pruning.validate_with is not None:
        yield VALIDATE, pruning.validate_with
    for place, metric in (*row_metrics(recipe.validation), *objectives(recipe.search)):
        if ":" in metric:
            yield place, metric
    for number, function in enumerate(recipe.report.plots):
        yield ("report", "plots", number), function
    if ":" in recipe.quantization.method:
        yield ("quantization", "method"), recipe.quantization.method


def user_references(given: CheckInput) -> tuple[UserReference, ...]:
    """Return the references whose modules were found."""
    references = []
    for path, reference in named_references(given):
        module = find_module(reference.partition(":")[0], given.parsed.folder)
        if module is not None:
            key = ".".join(str(part) for part in path)
            trusted = module.origin == "outside" and module.path is not None
            digest = digest_file(module.path) if trusted and module.path is not None else ""
            references.append(UserReference(key, reference, module.origin, module.path, digest))
    return tuple(references)


def bad_references(given: CheckInput) -> Iterator[Finding]:
    """Find modules and names that are not there, and code that nobody has said to trust."""
    for path, reference in named_references(given):
        module, _, name = reference.partition(":")
        if module.split(".")[0] == "__main__":
            advice = "put it into a file beside the recipe and name that"
            yield given.finding("R104", path, "`__main__` is whatever was started, and no module to rely on", advice)
            continue
        located = find_module(module, given.parsed.folder)
        if located is None:
            yield given.finding("R104", path, f"there is no module `{module}`", _near_module(given, module))
        elif located.origin == "outside" and not given.trust:
            place = located.path or "somewhere on the import path"
            message = f"`{module}` lies outside the recipe's folder and the installed environment ({place})"
            advice = "move it beside the recipe, install it, or say --trust to run it"
            yield given.finding("R105", path, message, advice)
        elif problems := list(_bad_name(given, path, located, name)):
            yield from problems
        elif located.origin == "environment" and not given.trust:
            yield from _unknown_kind(given, path, located, reference)


def _unknown_kind(given: CheckInput, path: KeyPath, located: FoundModule, reference: str) -> Iterator[Finding]:
    """Find an installed factory that nothing says to build a model or to return data: it might run what it is given."""
    module, _, name = reference.partition(":")
    role: Role = "data" if path[0] == "data" else "model"
    own = {"validation": "a metric", "search": "a metric", "report": "a function that draws"}.get(str(path[0]))
    called = _CALLED if own is None else {**_CALLED, path: own}
    for key, what in called.items():
        if path == key and in_standard_library(module, located.path):
            message = f"`{reference}` is part of Python's standard library, of which nothing is {what}"
            yield given.finding("R105", path, message, f"name {what}; --trust calls it whatever it does")
    if path[-1] != "factory" or f"{module}.".startswith(OWN):
        return
    what = {"model": "builds a model", "data": "returns a data set"}[role]
    if in_standard_library(module, located.path):
        message = f"`{reference}` is part of Python's standard library, of which nothing {what}"
        yield given.finding("R105", path, message, f"name what {what}; --trust runs it whatever it does")
        return
    titrants = module.split(".", maxsplit=1)[0] == "titrant"
    if not titrants and builds(role, module, name, installed_file) and not (role == "data" and _has_text(given, path)):
        return
    advice = {
        "model": "call it in a function beside the recipe, name a torch.nn.Module class, or say --trust to run it",
        "data": "call it in a function beside the recipe, which may say what it reads, or say --trust to run it",
    }[role]
    reason = {
        "model": "it is no torch.nn.Module class, and no function that is annotated to return one",
        "data": "it is not annotated to return a DataFrame or a mapping, or is given text, which can name anything",
    }[role]
    yield given.finding("R105", path, f"nothing says that the installed `{reference}` {what}: {reason}", advice)


def _has_text(given: CheckInput, path: KeyPath) -> bool:
    """Tell whether the arguments of a data factory hold text, such as the path of a pickle."""
    alone = given.data.unlabeled if path[1] == "unlabeled" else given.data.source
    source = alone if len(path) == 3 else (given.data.sources or {})[str(path[2])]
    return source is not None and any(isinstance(leaf, str) for leaf in _leaves(source.args or {}))


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from (leaf for item in value.values() for leaf in _leaves(item))
    elif isinstance(value, (list, tuple)):
        yield from (leaf for item in value for leaf in _leaves(item))
    else:
        yield value


def _bad_name(given: CheckInput, path: KeyPath, module: FoundModule, name: str) -> Iterator[Finding]:
    if module.path is None or module.path.suffix != ".py":
        return
    names = top_level_names(module.path)
    first = name.split(".", maxsplit=1)[0]
    if names is not None and first not in names:
        public = [defined for defined in names if not defined.startswith("_")]
        advice = meant(first, public, "it has") or "it defines nothing"
        yield given.finding("R106", path, f"{module.path.name} has no `{first}`", advice)


def _near_module(given: CheckInput, module: str) -> str:
    folder = given.parsed.folder
    modules = sorted(
        {file.stem for file in folder.glob("*.py")} | {file.parent.name for file in folder.glob("*/__init__.py")}
    )
    close = nearest(module, modules)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(f"`{name}`" for name in modules[:8]) or "no Python files"
    return f"modules are looked for in {folder} (it has {listed}) and in the installed environment"


def find_module(name: str, folder: Path) -> FoundModule | None:
    """Look for a module as the worker will: the recipe's folder first, then what is installed, then elsewhere.

    A module under the recipe's folder whose file really lies elsewhere (a link) is "outside". titrant's own modules
    always come from titrant. Returns None when it is nowhere.
    """
    if name.split(".", maxsplit=1)[0] == "titrant":
        own = [str(Path(parent).parent) for parent in sys.modules["titrant"].__path__]
        return _as("environment", _spec(name, own))
    # Python remembers for "." which folder that was when it first looked there, whatever the current one is now.
    if module := _as("recipe", _spec(name, [str(folder.absolute())])):
        return module if _inside(module.path, folder) else FoundModule(_origin(module.path), module.path)
    if _builtin(name):
        return FoundModule("environment", None)
    if module := _as("environment", _spec(name, list(environment()))):
        return module
    return _as("outside", _spec(name, [entry for entry in sys.path if entry]))


@cache
def installed_file(name: str) -> Path | None:
    """Return the file of an installed module, found without importing anything; None where there is none."""
    module = _as("environment", _spec(name, list(environment())))
    return None if module is None else module.path


def _spec(name: str, paths: list[str]) -> ModuleSpec | None:
    """Walk down a dotted name: each package says where its modules lie, without being imported."""
    spec: ModuleSpec | None = None
    for depth, _ in enumerate(name.split(".")):
        if spec is not None:
            if spec.submodule_search_locations is None:
                return None
            paths = list(spec.submodule_search_locations)
        # PathFinder asks a namespace package's parent for its path, which is not imported here: only list paths.
        spec = PathFinder.find_spec(name.split(".")[depth], paths)
        if spec is None:
            return None
    return spec


def _as(origin: CodeOrigin, spec: ModuleSpec | None) -> FoundModule | None:
    if spec is None:
        return None
    return FoundModule(origin, Path(spec.origin) if spec.origin and spec.has_location else None)


def _builtin(name: str) -> bool:
    return BuiltinImporter.find_spec(name) is not None or FrozenImporter.find_spec(name) is not None


def _inside(path: Path | None, folder: Path) -> bool:
    return path is None or path.resolve().is_relative_to(folder.resolve())


def _origin(path: Path | None) -> CodeOrigin:
    installed = path is not None and any(_inside(path, Path(entry)) for entry in environment())
    return "environment" if installed else "outside"


@cache
def environment() -> tuple[str, ...]:
    """List the folders of the installed environment: the standard library, site-packages, and editable installs."""
    scheme = sysconfig.get_paths()
    folders = [scheme[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    folders.append(str(Path(scheme["platstdlib"]) / "lib-dynload"))
    for packages in list(folders):
        folders += _linked(Path(packages))
    return tuple(dict.fromkeys(folder for folder in folders if Path(folder).is_dir()))


def _linked(packages: Path) -> list[str]:
    """Return the folders that a site-packages folder's .pth files add: that is how editable installs are found."""
    if packages.name not in ("site-packages", "dist-packages"):
        return []
    lines = [line.strip() for file in sorted(packages.glob("*.pth")) for line in _lines(file)]
    paths = [line for line in lines if line and not line.startswith(("#", "import ", "import\t"))]
    return [str(packages / line) for line in paths]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def top_level_names(path: Path) -> tuple[str, ...] | None:
    """List what a Python file defines or imports at its top level, in order; None where only running it would tell.

    That is: a file that is no Python text, does not parse, imports `*`, or defines `__getattr__`.
    """
    try:
        return _names_of(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


@cache  # several recipes name one module, and each of its factories is looked up by itself
def _names_of(text: bytes) -> tuple[str, ...] | None:
    tree = ast.parse(text)
    names = [name for node in tree.body for name in _defined(node)]
    return None if "*" in names or "__getattr__" in names else tuple(dict.fromkeys(names))


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
    if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
        return [name for inner in ast.iter_child_nodes(node) for name in _nested(inner)]
    return []


def _nested(node: ast.AST) -> list[str]:
    if isinstance(node, ast.stmt):
        return _defined(node)
    if isinstance(node, ast.ExceptHandler):
        return [name for inner in node.body for name in _defined(inner)]
    return []
