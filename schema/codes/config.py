"""Codes R030-R039: configuration that a program saves and loads."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "R030",
        "A configuration cannot be written",
        "`titrant.save_config` writes text, numbers, truth values, paths, dates, and lists and mappings of them. The "
        "message names the path of what is none of these, such as `model.layers[2].callback`. Nothing was written.",
        'titrant.save_config({"loss": my_loss}, Path("config.yaml"))',
        'titrant.save_config({"loss": "my_code:my_loss"}, Path("config.yaml"))',
    ),
    Code(
        "R031",
        "A configuration file cannot be read",
        "The suffix says how a file is read: .json as JSON, .yaml and .yml as YAML, which is read as recipes are.",
        'titrant.load_config(Path("config.txt"))',
        'titrant.load_config(Path("config.yaml"))',
    ),
    Code(
        "R032",
        "A directory cannot be made",
        "A file or a broken link stands in its place or above it, or the place may not be written to.",
    ),
    Code(
        "R033",
        "A configuration does not fit the type that it is read into",
        "`titrant.load_config(file, Settings)` converts nothing in silence and ignores no key.",
        'epochs: "5"       # class Settings: epochs: int',
        "epochs: 5",
    ),
)
