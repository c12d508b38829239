"""What a machine must have installed, as sentences for `requires`."""

from titrant.schema.distributions import distribution
from titrant.schema.facts import Hardware


def missing(hardware: Hardware, *packages: str) -> tuple[str, ...]:
    """Name every package that is not installed on the machine, with the command that installs it."""
    return tuple(
        f"{package} is not installed: pip install {package}"
        for package in packages
        if distribution(hardware.identity.packages, package) is None
    )
