"""Codes X500-X599: writing the report."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "X500",
        "not a run record",
        "A report is made from a run's record: its plan, what the run did, the values that its steps answered, the "
        "machine and the recipe's text. A part was missing or had another shape, so that nothing true could be "
        "written. Records are written by `titrant run`; one that was edited or comes from another version of titrant "
        "may not fit.",
        '{"plan": {...}}',
        '{"plan": {...}, "run": {...}, "values": {}, "hardware": {...}, "recipe_text": "titrant: 1\\n..."}',
    ),
)
