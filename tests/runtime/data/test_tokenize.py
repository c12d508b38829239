"""Texts as tokens: characters, a tokenizer of llama2.c, windows of documents, and texts of one length."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from titrant.runtime.data.classes import NOT_JUDGED
from titrant.runtime.data.parameters import File, TransformStep
from titrant.runtime.data.saved_transforms import load_transforms, save_transforms
from titrant.runtime.data.text.tokenizers import PADDING, UNKNOWN, of_characters, of_file
from titrant.runtime.data.tokenize import fit_tokenize, tokenizer_of, windows
from titrant.runtime.data.transforms import apply, fit
from titrant.runtime.operators.data.split import DataSplitParams, split
from titrant.runtime.operators.data.transform import DataTransformParams, transform
from titrant.runtime.values import Table, Tables, Transforms
from titrant.schema.diagnostics.diagnostics import PreconditionError, RecipeError, StepError

BY_CHARACTERS = {"name": "tokenize", "tokenizer": "characters"}
TEXTS = np.array(["abca", "b", "cab"])


def fitted(length=4, texts=TEXTS, **options):
    steps = fit([TransformStep(**BY_CHARACTERS, length=length, **options)], {"text": texts})
    return Transforms(steps, {"text": ("text",)}, {"text": "int64"})


def llama2c(pieces):
    """Write a tokenizer of llama2.c: three tokens, the bytes, and pieces of which an earlier one is joined before."""
    every = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256)), b" ", *pieces]
    return struct.pack("<i", 9) + b"".join(
        struct.pack("<fi", -float(place), len(piece)) + piece for place, piece in enumerate(every)
    )


def test_numbers_the_characters_of_the_rows_it_is_fitted_on():
    tokens = apply(fitted(length=6), {"text": np.array(["cab", "aé", ""])})["text"]
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [[4, 2, 3, 0, 0, 0], [2, UNKNOWN, 0, 0, 0, 0], [PADDING] * 6]
    assert tokenizer_of(fitted().steps[0]).vocabulary == 5


@settings(max_examples=25)
@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), st.text())
def test_gives_every_character_that_was_fitted_a_token_of_its_own(seen, asked):
    characters = "".join(sorted(set(seen)))
    tokenizer = of_characters(characters)
    tokens = tokenizer.encode(asked)
    assert ["?" if token == UNKNOWN else characters[token - 2] for token in tokens] == [
        letter if letter in characters else "?" for letter in asked
    ]
    assert tokens.max(initial=0) < tokenizer.vocabulary


@settings(max_examples=25)
@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1), st.integers(2, 7))
def test_asks_for_every_token_of_a_document_but_its_first_once(texts, length):
    if max(map(len, texts)) < 2:
        return
    cut = windows(fitted(length, np.array(texts), windows=True), {"text": np.array(texts)})
    tokens = cut.columns["text"]
    following = np.full(tokens.shape, NOT_JUDGED)
    following[:, :-1] = tokens[:, 1:]
    targets = cut.judged(following)
    asked = [targets[cut.documents == place] for place in range(len(texts))]
    known = of_characters("".join(sorted(set("".join(texts)))))
    assert [part[part != NOT_JUDGED].tolist() for part in asked] == [known.encode(text)[1:].tolist() for text in texts]
    # Each begins with the last token of the one before, which is given and not asked for.
    later = cut.places > 0
    assert (tokens[later, 0] == tokens[np.flatnonzero(later) - 1, -1]).all()


def test_keeps_windows_of_a_document_in_one_role_and_one_unit():
    generator = np.random.default_rng(0)
    texts = np.array(["".join(generator.choice(list("abcde"), generator.integers(2, 40))) for _ in range(60)] * 2)
    tables = Tables({"source": Table({"text": texts, "kind": np.array([text[0] for text in texts])})})
    parts = split(
        DataSplitParams(roles={"train": {"source": 0.5}, "evaluation": {"source": 0.5}}, inputs=("text",)),
        tables,
        seed=0,
    )
    params = DataTransformParams(
        task="language_modeling",
        inputs=("text",),
        transforms=(TransformStep(**BY_CHARACTERS, length=8, windows=True),),
        subgroups={"kind": {"column": "kind"}},
    )
    rows, _ = transform(params, tables, parts)
    both = [rows["train"], rows["evaluation"]]
    assert [len(part) for part in both] == [sum(-(-(len(texts[row]) - 1) // 7) for row in parts.roles[role]["source"])
                                            for role in ("train", "evaluation")]  # fmt: skip
    assert not {*both[0].units} & {*both[1].units}
    assert len({*both[0].units} | {*both[1].units}) == 60
    # A copy of a document has the hashes of the first, and every other window another one.
    assert len({*both[0].ids} | {*both[1].ids}) == sum(len(part) for part in both) // 2
    first = {text[0] for text in texts}
    assert {*both[0].subgroup_values["kind"]} == first
    assert (both[0].targets != NOT_JUDGED).any(axis=1).all()


def test_cuts_a_text_of_another_task_and_not_one_that_a_language_model_is_given():
    assert apply(fitted(2), {"text": TEXTS})["text"].tolist() == [[2, 3], [3, 0], [4, 2]]
    with pytest.raises(StepError) as refused:
        apply(fitted(2, windows=True), {"text": TEXTS})
    [diagnostic] = refused.value.diagnostics
    assert diagnostic.code == "X612"
    assert diagnostic.message == "text has 4 tokens in row 0, and the model takes 2 at once"


def test_refuses_documents_that_have_nothing_to_give_and_two_texts_a_row():
    with pytest.raises(PreconditionError, match="no document has two tokens, of 2 documents"):
        windows(fitted(windows=True), {"text": np.array(["a", "b"])})
    both = {"question": TEXTS, "answer": TEXTS}
    steps = fit([TransformStep(**BY_CHARACTERS, length=4, windows=True)], both)
    with pytest.raises(RecipeError, match="works on question, answer"):
        windows(Transforms(steps, {"x": ("question", "answer")}, {"x": "int64"}), both)


def test_leaves_tokens_to_no_later_transform_and_numbers_to_none():
    columns = {"text": TEXTS, "age": np.array([1.0, 2.0, 3.0])}
    steps = fit([TransformStep(**BY_CHARACTERS, length=4), TransformStep(name="standardize")], columns)
    assert [step.columns for step in steps] == [("text",), ("age",)]
    with pytest.raises(RecipeError, match="tokenize: age is numbers"):
        fit([TransformStep(**BY_CHARACTERS, length=4, columns=("age",))], columns)
    with pytest.raises(RecipeError, match="tokenize: no input is text"):
        fit([TransformStep(**BY_CHARACTERS, length=4)], {"age": columns["age"]})


@pytest.mark.parametrize("texts", [TEXTS, np.array(['\n\t\x1b\u2028"', "\U0001f600\\", "a\x00b"])])
def test_ships_what_it_knows(tmp_path, texts):
    transforms = fitted(length=4, texts=texts)
    save_transforms(transforms, tmp_path)
    assert (
        apply(load_transforms(tmp_path), {"text": texts})["text"].tolist()
        == apply(transforms, {"text": texts})["text"].tolist()
    )


def test_joins_pairs_as_llama2c_does(tmp_path):
    file = tmp_path / "own.bin"
    file.write_bytes(llama2c([b"a", b"b", b"ab", b"aba", b"bab"]))
    step = TransformStep(name="tokenize", tokenizer=File(path=str(file), digest=""), length=8)
    transforms = Transforms(fit([step], {"text": TEXTS}), {"text": ("text",)}, {"text": "int64"})
    save_transforms(transforms, tmp_path)
    a, b, ab, aba = 260, 261, 262, 263
    expected = [[1, 259, aba, b, 0, 0, 0, 0], [1, 259, 0xC3 + 3, 0xA9 + 3, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]
    asked = {"text": np.array(["abab", "é", ""])}
    expected[0] = [1, 259, ab, ab, 0, 0, 0, 0]  # both pairs are joined before a longer one can be
    assert apply(load_transforms(tmp_path), asked)["text"].tolist() == expected
    assert of_file(file.read_bytes(), ".bin", "own.bin").encode("aba").tolist() == [1, 259, aba]
    assert tokenizer_of(transforms.steps[0]).encode("ba").tolist() == [1, 259, b, a]
    assert step.given


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has 0 tokens, and those of 256 bytes are among them"),
        (llama2c([b"a"])[:-1], "it ends within token 260"),
        (llama2c([b"a"])[:-6], "it ends within token 260"),
    ],
)
def test_refuses_a_file_that_holds_no_tokenizer(tmp_path, content, said):
    file = tmp_path / "own.bin"
    file.write_bytes(content)
    with pytest.raises(RecipeError) as refused:
        fit_tokenize(
            {"text": TEXTS}, TransformStep(name="tokenize", tokenizer=File(path=str(file), digest=""), length=8)
        )
    assert refused.value.diagnostics[0].message == f"own.bin cannot be read as a tokenizer: {said}"


def test_spreads_other_columns_over_the_windows():
    step = fitted(2, windows=True)
    cut = windows(replace(step, inputs={"text": ("text",), "age": ("age",)}), {"text": TEXTS, "age": np.arange(3.0)})
    assert cut.columns["age"].tolist() == [0, 0, 0, 2, 2]
    assert len(cut) == 5


@pytest.mark.parametrize("side", ["left", "right"])
def test_cuts_and_fills_up_texts_as_the_library_does(tmp_path, side):
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "c": 5}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(words))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    library.enable_padding(direction=side, length=4)
    library.enable_truncation(4, direction=side)
    library.save(str(tmp_path / "tokenizer.json"))
    file = File(path=str(tmp_path / "tokenizer.json"), digest="")
    texts = np.array(["a b c", "a", "", "c b"])
    steps = fit([TransformStep(name="tokenize", tokenizer=file, length=4)], {"text": texts})
    tokens = apply(Transforms(steps, {"text": ("text",)}, {"text": "int64"}), {"text": texts})["text"]
    assert tokens.tolist() == [encoded.ids for encoded in library.encode_batch(texts.tolist())]
    steps = fit([TransformStep(name="tokenize", tokenizer=file, length=1)], {"text": texts})
    with pytest.raises(RecipeError, match=r"X628: tokenizer\.json adds 2 tokens to each text, and `length: 1`"):
        apply(Transforms(steps, {"text": ("text",)}, {"text": "int64"}), {"text": texts})


def test_reads_what_the_library_tokenizers_writes(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"[UNK]": 0, "cat": 1, "sat": 2, "[PAD]": 3, "[CLS]": 4}, unk_token="[UNK]")
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A", special_tokens=[("[CLS]", 4)])
    library.enable_padding(pad_id=3, pad_token="[PAD]", length=50)
    library.enable_truncation(2)
    library.save(str(tmp_path / "tokenizer.json"))
    file = File(path=str(tmp_path / "tokenizer.json"), digest="")
    texts = np.array(["cat sat cat", "dog"])
    steps = fit([TransformStep(name="tokenize", tokenizer=file, length=5)], {"text": texts})
    transforms = Transforms(steps, {"text": ("text",)}, {"text": "int64"})
    assert apply(transforms, {"text": texts})["text"].tolist() == [[4, 1, 2, 1, 3], [4, 0, 3, 3, 3]]
    save_transforms(transforms, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert apply(load_transforms(tmp_path), {"text": texts})["text"].tolist()[1] == [4, 0, 3, 3, 3]
    with pytest.raises(RecipeError, match="it holds no tokenizer of that library"):
        fit([TransformStep(name="tokenize", tokenizer=file, length=5)], {"text": texts})
