"""What was settled before any rule: code that was trusted, and what inspection adjusted or left out."""

from titrant.compiler.rules.question import Answer, Question, decision
from titrant.schema.plan import Decision


def trusted(question: Question) -> Answer:
    """Show every module from elsewhere that `--trust` lets run, by the digest of its file.

    The digest is part of the plan's identity, so a saved plan does not run other code than was trusted.
    """
    outside = [one for one in question.bound.user_references if one.origin == "outside"]
    lines = [
        decision(
            question,
            one.key,
            "trust.given",
            asked="--trust",
            chosen=f"{one.reference} ({one.digest[:16] or 'no file'})",
            because=f"it lies outside the recipe's folder and the installed environment, in {one.path}",
            path=tuple(int(part) if part.isdigit() else part for part in one.key.split(".")),
        )
        for one in outside
    ]
    return Answer(None, tuple(lines))


def notes(question: Question) -> Answer:
    """Show what inspection noted of the model and the data: prefixes removed, copies dropped, rows in no group …"""
    model = [_note(question, "model", text) for text in question.model.notes]
    data = [_note(question, "data", text) for text in question.data.notes]
    return Answer(None, (*model, *data))


def _note(question: Question, section: str, text: str) -> Decision:
    return decision(
        question, section, f"{section}.noted", asked="", chosen="as inspected", because=text, path=(section,)
    )
