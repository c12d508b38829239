"""Read how much memory this process holds."""


def resident_bytes() -> int | None:
    """Return the resident memory of this process, or None where the system does not tell."""
    import psutil

    try:
        return int(psutil.Process().memory_info().rss)
    except (psutil.Error, OSError):
        return None


def grown_bytes(before: int | None) -> int | None:
    """Return how much resident memory was added since `before`; freed memory counts as none."""
    now = resident_bytes()
    return None if before is None or now is None else max(0, now - before)
