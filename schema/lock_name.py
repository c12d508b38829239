"""Tell a lock from a recipe by its file's name."""

SUFFIX = ".lock.yaml"
_SUFFIXES = (SUFFIX, ".lock.yml")


def is_lock(name: str) -> bool:
    """Whether a file of this name is a lock: the name beside `x.yaml` is `x.lock.yaml`."""
    return name.endswith(_SUFFIXES)
