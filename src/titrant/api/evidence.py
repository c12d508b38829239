"""Make the evidence pack of a run, sign it with a key of one's own, and check one that was signed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError, StepError
from titrant.schema.language.nearest import nearest
from titrant.schema.release import DOCUMENTS, evidence_of

if TYPE_CHECKING:
    from titrant.runtime.evidence.pack import EvidencePack
    from titrant.runtime.evidence.sign import Signed, VerifiedPack


def make(run: str, *, documents: Sequence[str] = (), against: str | None = None) -> "EvidencePack":
    """Write the evidence pack of a run (folder, id, unique prefix, or latest) into its folder `evidence`.

    `documents` name those to write; default: those that its recipe asked for, else all. `against` is the run that the
    change is described against; default: the last release of the recipe before it. A pack that is there is replaced,
    and its signatures go. Raises RecipeError where there is no such run or document, StepError X581 where the run's
    files cannot be read, X589 where what it put out is no longer what it was.
    """
    from titrant.api.diff import run_folder, run_of
    from titrant.runtime.evidence.earlier import NAMED, compared_with, earlier_of
    from titrant.runtime.evidence.pack import make_pack
    from titrant.runtime.store.home import home_to_read
    from titrant.runtime.store.placed import added, forged

    recorded, folder, home = run_of(run), run_folder(run), home_to_read()
    for name in documents:
        if name not in DOCUMENTS:
            message = f"there is no document `{name}`: there are {', '.join(DOCUMENTS)}"
            meant = nearest(name, DOCUMENTS)
            raise RecipeError(Diagnostic("X590", message, help=f"did you mean `{meant}`?" if meant else ""))
    if (wrong := forged(folder) or added(folder)) is not None:
        message = f"{wrong.path.name} of the run {folder.name} is not what the run put out: {wrong.why}"
        advice = "run the recipe again: what is stored is verified and reused; what was added belongs elsewhere"
        raise StepError(Diagnostic("X589", message, help=advice))
    names = tuple(documents) or evidence_of(recorded.plan) or tuple(DOCUMENTS)
    other = None if against is None else run_folder(against)
    earlier = earlier_of(home, folder) if other is None else compared_with(home, folder, other, NAMED)
    return make_pack(folder, names, earlier)


def sign(run: str, key: str | os.PathLike[str]) -> "Signed":
    """Sign a run's evidence and outputs with a private key in PEM (ECDSA on P-256, P-384 or P-521), offline.

    An encrypted key is opened with the password in TITRANT_KEY_PASSWORD. Raises RecipeError for a key that cannot be
    used and a run without evidence, StepError X586 where a file changed since its evidence was made.
    """
    from titrant.api.diff import run_folder
    from titrant.runtime.evidence.keys import private_key
    from titrant.runtime.evidence.sign import sign_pack

    return sign_pack(run_folder(run), private_key(Path(key)))


def verify(run: str, public_key: str | os.PathLike[str]) -> "VerifiedPack":
    """Check that a run's evidence and outputs are what was signed with the private half of a key in PEM.

    Raises StepError, naming every file that was changed, added or taken away since, and where another key signed.
    """
    from titrant.api.diff import run_folder
    from titrant.runtime.evidence.keys import public_key as read_key
    from titrant.runtime.evidence.sign import verify_pack

    return verify_pack(run_folder(run), read_key(Path(public_key)))
