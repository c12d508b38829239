"""Make the evidence pack of a run: write the documents that are asked for, whole or not at all, with a list of them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from titrant.runtime.evidence.annex_iv import annex_iv
from titrant.runtime.evidence.bom import bom
from titrant.runtime.evidence.changes import Earlier, changes
from titrant.runtime.evidence.components import third_party
from titrant.runtime.evidence.facts import RunFacts, gather
from titrant.runtime.evidence.hazards import hazards
from titrant.runtime.evidence.model_card import model_card
from titrant.runtime.evidence.spdx import spdx
from titrant.runtime.evidence.statements import provenance_statement, result_statement
from titrant.runtime.evidence.words import NO_CLAIM
from titrant.schema.diagnostics.diagnostics import Diagnostic, StepError
from titrant.schema.release import DOCUMENTS, FOLDER, INDEX
from titrant.schema.values import files
from titrant.schema.values.frozen import dataclass
from titrant.schema.values.text import os_reason, printable

_WRITERS: Mapping[str, Callable[[RunFacts], dict[str, str]]] = {
    "model_card": model_card,
    "bom": bom,
    "spdx": spdx,
    "components": third_party,
    "test_result": result_statement,
    "provenance": provenance_statement,
    "hazards": hazards,
    "annex_iv": annex_iv,
}


@dataclass(frozen=True)
class EvidencePack:
    """A pack as it was written: its folder, its files with their SHA-256, and why documents were left out."""

    folder: Path
    files: Mapping[str, str]
    left_out: Mapping[str, str]
    against: str  # the run that the change is described against; "" where there is none


def make_pack(
    run: Path, documents: Sequence[str], earlier: Earlier | None, *, placed: Path | None = None
) -> EvidencePack:
    """Write a run's pack into its folder `evidence`, in place of one that is there, its signatures included.

    The same record and the same earlier run always give the same bytes. `placed` is where what the run puts out lies
    while it is not yet in its place. Raises StepError X581 where the run cannot be read, X580 where nothing can be
    written.
    """
    facts = gather(run, placed)
    texts, left_out = documents_of(facts, documents, earlier)
    index = _index(facts, texts, left_out, earlier)
    folder, unfinished = run / FOLDER, run / f".{FOLDER}.unfinished"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8", newline="\n")
        files.write_json(unfinished / INDEX, index)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except OSError as error:
        message = f"the evidence of the run {run.name} cannot be written: {os_reason(error)}"
        advice = "make room, or let the folder be written to, and run the recipe again: finished steps are reused"
        raise StepError(Diagnostic("X580", message, help=advice)) from None
    return EvidencePack(folder, index["files"], left_out, "" if earlier is None else earlier.run.run)


def documents_of(
    facts: RunFacts, documents: Sequence[str], earlier: Earlier | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the text of each file, and why documents are left out; one about a released file needs one."""
    texts: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, document in DOCUMENTS.items():
        if name not in documents:
            continue
        if document.of_release and not facts.released:
            left_out[name] = "it is about a released file, and nothing was released"
        else:
            texts |= changes(facts, earlier) if name == "changes" else _WRITERS[name](facts)
    return {name: printable(text) for name, text in texts.items()}, left_out


def _index(
    facts: RunFacts, texts: Mapping[str, str], left_out: Mapping[str, str], earlier: Earlier | None
) -> dict[str, Any]:
    """Return the list of a pack: its own files, and those of the run that they are about, by SHA-256."""
    from hashlib import sha256

    return {
        "titrant": 1,
        "about": NO_CLAIM,
        "run": facts.run.run,
        "verdict": facts.run.verdict,
        "released": list(facts.run.released),
        "against": None if earlier is None else earlier.run.run,
        "files": {name: sha256(text.encode()).hexdigest() for name, text in texts.items()},
        "left_out": dict(left_out),
        "of_run": {file.path: file.sha256 for file in (*facts.placed, *facts.records)},
    }
