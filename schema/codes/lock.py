"""Codes P090-P099: locks and reruns."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "P090",
        "There is no lock",
        "`titrant run RECIPE --locked` and `titrant lock RECIPE --check` compare with RECIPE's lock, a file of the "
        "same name that ends in .lock.yaml. A successful run writes it, and `titrant lock RECIPE` does from an earlier "
        "run.",
        "titrant run mine.yaml --locked   # and there is no mine.lock.yaml",
        "titrant run mine.yaml",
    ),
    Code(
        "P091",
        "The lock cannot be read",
        "A lock is written by titrant, one fact a line. This one is damaged, was edited by hand, holds what a merge "
        "left behind, or is of another version. The place in the message is the first that is wrong.",
        "<<<<<<< HEAD",
        "git checkout HEAD -- mine.lock.yaml; titrant lock mine.yaml",
    ),
    Code(
        "P092",
        "The lock and what is planned or done here differ",
        "Recipe, model, data, decisions, steps and outputs are compared in this order, and the first difference is "
        "named: what follows from it differs too. Nothing is released by a locked run that differs.",
        "titrant run mine.yaml --locked   # after the recipe was edited",
        "titrant run mine.yaml; git diff mine.lock.yaml",
    ),
    Code(
        "P093",
        "The lock has no entry for this hardware class",
        "Results hold for an instruction set, accelerators, and versions of the libraries that the steps use: together "
        "they are the class. A run on a machine of another class adds an entry of its own to the lock.",
        "titrant run mine.yaml --locked   # on a machine with other instructions",
        "titrant run mine.yaml",
    ),
    Code(
        "P094",
        "There is no run to lock",
        "A lock is written from a run of this very recipe that released a model. `titrant lock RECIPE` looks for the "
        "newest one; `titrant lock RECIPE RUN` takes the one that is named.",
        "titrant lock mine.yaml   # before it ran",
        "titrant run mine.yaml",
    ),
    Code(
        "P095",
        "The lock cannot be written",
        "The lock stands beside its recipe, whose folder cannot be written. A run goes on without it.",
    ),
    Code(
        "P096",
        "A lock is checked against the recipe",
        "`titrant lock RECIPE RUN` writes the lock from a run; `titrant lock RECIPE --check` compares the recipe with "
        "the lock that is there. Both at once is neither. To compare a run with what it recorded: titrant rerun RUN.",
        "titrant lock mine.yaml latest --check",
        "titrant lock mine.yaml --check",
    ),
)
