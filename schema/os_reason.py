"""Why the system refused a file, in a few words."""


def os_reason(error: OSError | ValueError) -> str:
    """Say why the system refused: `permission denied`; Python raises ValueError for a path with a null character."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
