"""A slice of the contract and its text are the same, whatever names it holds."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from titrant.schema.values.slice import ALL, Slice, read_slice

NAMES = st.text() | st.text(alphabet="ab./ ")
GROUPS = NAMES.filter(lambda name: "." not in name)  # the language refuses dots here


@given(name=NAMES, group=GROUPS, value=NAMES)
def test_reads_back_what_it_writes(name, group, value):
    for written in (ALL, Slice("class", class_name=name), Slice("subgroup", group=group, value=value)):
        assert read_slice(written.text) == written


@given(group=GROUPS, value=NAMES, other=NAMES)
def test_reads_back_one_value_against_another(group, value, other):
    # Where the first value itself holds what parts the two, nobody can tell them apart.
    parting = f" / {group}."
    assume((value + parting).index(parting) == len(value))
    pair = Slice("subgroup", group=group, value=value, other=other)
    assert read_slice(pair.text, against=True) == pair


@given(text=st.text(alphabet="abclsugrop ./"))
def test_writes_a_text_as_it_read_it(text):
    for against in (False, True):
        try:
            read = read_slice(text, against=against)
        except ValueError:
            continue
        assert read.text == text


@pytest.mark.parametrize(
    ("text", "kind", "sides"),
    [
        ("all", "all", ["all"]),
        ("class 1.5 / 2", "class", ["class 1.5 / 2"]),
        ("subgroup size.0.5 / size.1.5", "subgroup", ["subgroup size.0.5", "subgroup size.1.5"]),
        ("subgroup race.a / b / race.c", "subgroup", ["subgroup race.a / b", "subgroup race.c"]),
    ],
)
def test_parts_a_pair_into_its_values(text, kind, sides):
    read = read_slice(text, against=True)
    assert (read.kind, [side.text for side in read.sides()]) == (kind, sides)


def test_takes_a_slash_for_a_part_of_the_name_where_no_pair_is_due():
    read = read_slice("subgroup race.Black / African")
    assert (read.group, read.value, read.other) == ("race", "Black / African", None)


@pytest.mark.parametrize("text", ["", "All", "class", "subgroup", "subgroup sex", "group sex.f"])
def test_refuses_another_form(text):
    with pytest.raises(ValueError, match=r"is not `all`, `class X` or `subgroup G\.value`"):
        read_slice(text)
