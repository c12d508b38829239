"""Fuzz the reading of recipes, guided by the branches that each input reaches.

    python benchmarks/fuzz_recipe.py [SECONDS] [--corpus FOLDER] [--only parse|set|migrate|config]

Seeds are the shipped recipes and the golden mistakes. An input fails when anything but RecipeError comes out of
`parse`, `bind`, `migrate` or `read_yaml`, when its errors cannot be shown, or when it takes more than two seconds; it
is then written to `fuzz-failure-*` in the corpus folder. Needs `pip install titrant[fuzz]` and Linux.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["titrant.schema", "titrant.compiler", "yaml"]):
    from titrant.compiler.bind.bind import bind
    from titrant.schema.config.values import merge_yaml, read_yaml
    from titrant.schema.diagnostics.diagnostics import RecipeError
    from titrant.schema.diagnostics.render import as_json, render_all
    from titrant.schema.language.migrate import migrate
    from titrant.schema.language.parse import parse
    from titrant.schema.language.write import dump
    from titrant.schema.language.yaml_source import decode
    from titrant.schema.recipe.recipe import recipe_value, written

ROOT = Path(__file__).parent.parent
MISTAKES = ROOT / "tests" / "schema" / "mistakes"
BASE = (MISTAKES / "base.yaml").read_text("utf-8")
MOST_SECONDS = 2.0


def read(data: bytes) -> None:
    """Parse a file's bytes, bind it where it parses, and print it so that it parses to the same."""
    parsed = parse(decode(data, "x.yaml"), "x.yaml", folder=ROOT / "recipes")
    again = parse(dump(written(parsed.recipe)), "x.yaml", folder=ROOT / "recipes")
    assert recipe_value(again.recipe) == recipe_value(parsed.recipe), "printed, it parses to another recipe"
    for path in parsed.source.paths():
        assert parsed.source.place(path).line >= 1
    bind(parsed)


def override(data: bytes) -> None:
    """Lay a `--set` flag over a recipe."""
    parse(BASE, "x.yaml", folder=ROOT, overrides=(decode(data, "--set"),))


def rewrite(data: bytes) -> None:
    """Migrate a text; migrating the outcome changes nothing."""
    once = migrate(decode(data, "x.yaml"), "x.yaml")
    again = migrate(once.text, "x.yaml")
    assert (again.text, again.changes) == (once.text, ()), "migrating twice changes something"


def configure(data: bytes) -> None:
    """Read a configuration and put another value in among its comments."""
    text = decode(data, "x.yaml")
    value, _ = read_yaml(text, "x.yaml")
    if isinstance(value, dict):
        merge_yaml(text, {**value, "added": [1, "no", {"a": None}]}, "x.yaml")


ENTRIES = {"parse": read, "set": override, "migrate": rewrite, "config": configure}


def shown(error: RecipeError) -> None:
    """Write an error in both its forms, which must not fail either."""
    assert render_all(error.diagnostics)
    assert json.dumps([as_json(one) for one in error.diagnostics])


def seeds() -> list[bytes]:
    """Gather the shipped recipes, and every golden mistake as a whole recipe and by itself."""
    found = [file.read_bytes() for file in sorted((ROOT / "recipes").glob("*.yaml"))]
    found += [BASE.encode(), (ROOT / "tests" / "schema" / "full.yaml").read_bytes()]
    for file in sorted(MISTAKES.glob("*.txt")):
        for block in file.read_text("utf-8").split("## ")[1:]:
            given = block.partition("\n")[2].partition("\n>>\n")[0].replace("⇥", "\t").replace("␛", "\x1b")
            line, _, replacement = given.removeprefix("@@ ").partition("\n")
            if given.startswith("@@ "):
                found += [BASE.replace(line, replacement).encode(), replacement.strip().encode()]
            else:
                found.append(given.encode())
    return found


def main() -> None:
    """Fuzz for as many seconds as asked; libFuzzer prints what it found and exits non-zero on a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=300)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "titrant-fuzz")
    parser.add_argument("--only", choices=list(ENTRIES), help="fuzz one way in; default: all in turn")
    options = parser.parse_args()
    options.corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (options.corpus / f"seed-{number:03}").write_bytes(seed)
    entries = [ENTRIES[options.only]] if options.only else list(ENTRIES.values())
    words = options.corpus / "words.dict"
    keys = sorted({word for word in json.dumps(_schema()).replace('\\"', "").split('"') if word.isidentifier()})
    words.write_text("".join(f'"{word}"\n' for word in [*keys, ": ", "- ", "none", "auto", "titrant: 0"]), "utf-8")

    def once(data: bytes) -> None:
        for entry in entries:
            begin = time.perf_counter()
            try:
                entry(data)
            except RecipeError as error:
                shown(error)
            seconds = time.perf_counter() - begin
            assert seconds < MOST_SECONDS, f"{entry.__name__} took {seconds:.1f} s"

    limits = [f"-max_total_time={options.seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192"]
    outputs = [f"-artifact_prefix={options.corpus}/fuzz-failure-", f"-dict={words}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *outputs, str(options.corpus)], once)
    atheris.Fuzz()


def _schema() -> object:
    from titrant.schema.language.expected import recipe_schema

    return recipe_schema()


if __name__ == "__main__":
    main()
