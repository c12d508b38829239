"""A file name that is not UTF-8 is written, digested and read back like any other text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from titrant.schema.values.canonical import canonical_json, encodable, sha256

NAMES = st.text(st.sampled_from('aé→🔬\\"\udce9\ud800\udfff') | st.characters(), max_size=9)


@given(st.dictionaries(NAMES, NAMES | st.lists(NAMES, max_size=2), max_size=3))
def test_writes_any_text_as_utf8_and_reads_it_back(value):
    # Two halves beside each other are a whole character once they are read.
    text = canonical_json(value).encode().decode()
    assert json.loads(text) == json.loads(json.dumps(value))
    assert len(sha256(value)) == 64


@given(st.text(st.characters(codec="utf-8")))
def test_leaves_what_utf8_can_hold_as_it_is(text):
    assert encodable(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)
