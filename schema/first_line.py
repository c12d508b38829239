"""What an error of somebody else's code says, in one line."""

# A line of a library may hold a whole shape or file.
MOST = 200


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says anything, at most 200 characters; else the error's type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:MOST]
