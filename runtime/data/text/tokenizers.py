"""Turn one text into token numbers: by characters, by a tokenizer.json, or by a tokenizer of llama2.c."""

import heapq
import struct
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from titrant.schema.diagnostics.diagnostics import Diagnostic, RecipeError
from titrant.schema.recipe.transform import CHARACTERS
from titrant.schema.values.frozen import dataclass

# The first two tokens of characters: what stands behind a text that is shorter, and a character of no train row.
PADDING, UNKNOWN = 0, 1
_OWN = 2
# In a tokenizer of llama2.c: what every text begins with, and where the tokens of single bytes begin.
_BEGIN, _BYTES = 1, 3
# What tokenizers call the token that stands behind a text that is shorter.
_PADDING_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|endoftext|>", "</s>", "<|end_of_text|>")
JSON, LLAMA2C = ".json", ".bin"


@dataclass(frozen=True)
class Tokenizer:
    """How a text becomes token numbers, 0 … vocabulary - 1, and which of them fills up a text that is shorter.

    `encode` gives all tokens of a text, `cut` so many at most; `pads_left` says on which side the filling stands.
    """

    encode: Callable[[str], np.ndarray]
    vocabulary: int
    padding: int
    cut: Callable[[str, int], np.ndarray]
    pads_left: bool = False


def of_characters(characters: str) -> Tokenizer:
    """Return the tokenizer of these characters, each once and by code point; of others it makes `UNKNOWN`."""
    points = np.frombuffer(characters.encode("utf-32-le"), np.uint32)

    def encode(text: str) -> np.ndarray:
        asked = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        if not len(points):
            return np.full(len(asked), UNKNOWN, np.int64)
        places = np.searchsorted(points, asked).clip(0, len(points) - 1)
        return np.where(points[places] == asked, places + _OWN, UNKNOWN).astype(np.int64)

    return Tokenizer(encode, len(points) + _OWN, PADDING, lambda text, length: encode(text)[:length])


def characters_in(column: np.ndarray) -> str:
    """Return the characters of a column of texts, each once and by code point; halves of characters are none."""
    distinct: set[str] = set()
    for text in column.tolist():
        distinct.update(text)
    return "".join(sorted(letter for letter in distinct if not "\ud800" <= letter <= "\udfff"))


def read_tokenizer(path: str) -> np.ndarray:
    """Return the bytes of a tokenizer's file, (bytes,) uint8, once it is one; RecipeError X611 where it is none."""
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise _unreadable(file.name, type(error).__name__) from None
    of_file(content, file.suffix.lower(), file.name)
    return np.frombuffer(content, np.uint8)


@cache
def of_file(content: bytes, kind: str, name: str) -> Tokenizer:
    """Return the tokenizer that a file's bytes are, of kind `JSON` or `LLAMA2C`; RecipeError X611 for anything else."""
    return _of_json(content, name) if kind == JSON else _of_llama2c(content, name)


def _of_json(content: bytes, name: str) -> Tokenizer:
    """Read what the library tokenizers writes; what it adds to a text, such as its beginning, is added."""
    try:
        from tokenizers import Tokenizer as Library
    except ImportError:
        message = f"{name} is read by the package tokenizers, which is not installed"
        raise RecipeError(Diagnostic("X611", message, help='pip install "titrant[text]"')) from None
    try:
        library = Library.from_str(content.decode("utf-8"))
    except Exception as error:  # noqa: BLE001 - the library raises Exception itself
        raise _unreadable(name, "it holds no tokenizer of that library", said=str(error)) from None
    declared, side = library.padding, (library.truncation or {}).get("direction", "right")
    added = library.num_special_tokens_to_add(False)
    library.no_padding()
    library.no_truncation()
    numbers = [library.token_to_id(token) for token in _PADDING_NAMES]
    padding = int(declared["pad_id"]) if declared else next((number for number in numbers if number is not None), 0)

    def encode(text: str) -> np.ndarray:
        return np.array(library.encode(text).ids, np.int64)

    def cut(text: str, length: int) -> np.ndarray:
        # The library cuts the text and not what it adds around it, such as its end.
        if length < added:
            raise _no_place(name, added, length)
        library.enable_truncation(length, direction=side)
        try:
            return encode(text)
        finally:
            library.no_truncation()

    pads_left = (declared or {}).get("direction") == "left"
    return Tokenizer(encode, library.get_vocab_size(), padding, cut, pads_left)


def _no_place(name: str, added: int, length: int) -> RecipeError:
    message = f"{name} adds {added} tokens to each text, and `length: {length}` has no place for them"
    return RecipeError(Diagnostic("X628", message, help="raise `length` of `tokenize`"))


def _of_llama2c(content: bytes, name: str) -> Tokenizer:
    """Read a vocabulary with scores: a text begins with `_BEGIN` and a blank, and pairs are joined, the best first."""
    pieces: list[bytes] = []
    scores: list[float] = []
    place = 4
    try:
        while place < len(content):
            score, length = struct.unpack_from("<fi", content, place)
            piece = content[place + 8 : place + 8 + length]
            if length < 0 or len(piece) != length:
                raise _unreadable(name, f"it ends within token {len(pieces):,}")
            pieces.append(piece)
            scores.append(score)
            place += 8 + length
    except struct.error:
        raise _unreadable(name, f"it ends within token {len(pieces):,}") from None
    if len(pieces) < _BYTES + 256 or not all(np.isfinite(scores)):
        raise _unreadable(name, f"it has {len(pieces):,} tokens, and those of 256 bytes are among them")
    numbers = {piece: number for number, piece in reversed(list(enumerate(pieces)))}

    def encode(text: str) -> np.ndarray:
        tokens = [numbers[b" "]] if text and b" " in numbers else []
        for letter in text:
            own = letter.encode("utf-8", "replace")
            tokens += [numbers[own]] if own in numbers else [byte + _BYTES for byte in own]
        return np.array([_BEGIN, *_joined(tokens, pieces, scores, numbers)], np.int64)

    return Tokenizer(encode, len(pieces), 0, lambda text, length: encode(text)[:length])


def _joined(tokens: list[int], pieces: list[bytes], scores: list[float], numbers: dict[bytes, int]) -> list[int]:
    """Join neighbors into tokens of a vocabulary, the pair of the best score first, the leftmost of equal ones.

    Byte pair encoding (Sennrich, Haddow and Birch 2016) with a queue of pairs, as llama2.c orders them.
    """
    following = [*range(1, len(tokens)), -1] if tokens else []
    before = list(range(-1, len(tokens) - 1))
    queue: list[tuple[float, int, int, int]] = []

    def offer(left: int, right: int) -> None:
        number = numbers.get(pieces[tokens[left]] + pieces[tokens[right]])
        if number is not None:
            heapq.heappush(queue, (-scores[number], left, tokens[left], tokens[right]))

    for left, right in pairwise(range(len(tokens))):
        offer(left, right)
    while queue:
        _, left, first, second = heapq.heappop(queue)
        right = following[left] if tokens[left] >= 0 else -1
        if right < 0 or (tokens[left], tokens[right]) != (first, second):
            continue  # one of the two was joined with another meanwhile
        tokens[left] = numbers[pieces[first] + pieces[second]]
        tokens[right], following[left] = -1, following[right]
        if following[right] >= 0:
            before[following[right]] = left
            offer(left, following[left])
        if before[left] >= 0:
            offer(before[left], left)
    return [token for token in tokens if token >= 0]


def _unreadable(name: str, why: str, said: str = "") -> RecipeError:
    advice = (
        f"name a {JSON} file that the library tokenizers wrote, a tokenizer of llama2.c ({LLAMA2C}), or `{CHARACTERS}`"
    )
    return RecipeError(Diagnostic("X611", f"{name} cannot be read as a tokenizer: {why}", help=advice, said=said))
