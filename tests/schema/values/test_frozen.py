"""What `schema.values.frozen.dataclass` promises: what the standard one does, and nothing compiled too early."""

import copy
import dataclasses
import functools
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from titrant.schema.values.frozen import dataclass, replace


@dataclass(frozen=True)
class Ours:
    """A class."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()
    d: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Theirs:
    """A class."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()
    d: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclass
class Open:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)


values = st.fixed_dictionaries(
    {"a": st.integers()}, optional={"b": st.text(), "c": st.lists(st.integers()).map(tuple), "d": st.just({"x": 1})}
)


@given(values, values)
def test_does_what_the_standard_one_does(one, other):
    ours, theirs = (Ours(**one), Ours(**other)), (Theirs(**one), Theirs(**other))
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert repr(ours[0]) == repr(theirs[0]).replace("Theirs", "Ours")
    assert dataclasses.asdict(ours[0]) == dataclasses.asdict(theirs[0])
    assert replace(ours[0], a=7) == dataclasses.replace(ours[0], a=7) == Ours(**{**one, "a": 7})
    assert vars(replace(ours[0], **other)) == vars(ours[1]) | {
        key: vars(ours[0])[key] for key in vars(ours[0]).keys() - other
    }
    assert copy.deepcopy(ours[0]) == ours[0] == pickle.loads(pickle.dumps(ours[0]))
    assert TypeAdapter(Ours).validate_python(dataclasses.asdict(ours[0])) == ours[0]


def test_has_the_same_fields_and_signature():
    assert [(one.name, one.type) for one in dataclasses.fields(Ours)] == [
        (one.name, one.type) for one in dataclasses.fields(Theirs)
    ]
    assert list(inspect.signature(Ours).parameters) == list(inspect.signature(Theirs).parameters)
    assert inspect.get_annotations(Ours.__init__) == {**inspect.get_annotations(Ours), "return": None}
    assert Ours.__match_args__ == Theirs.__match_args__
    assert Ours.__dataclass_params__.frozen


def test_refuses_what_the_standard_one_refuses():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'a'"):
        Ours(1).a = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'a'"):
        del Ours(1).a
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        Ours()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Ours(1, z=2)
    assert Ours(1) != Theirs(1)


def test_hashes_by_value_where_frozen_only():
    assert hash(Ours(1, c=(2,), d=())) == hash(Ours(1, c=(2,), d=()))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Open(1))


def test_lets_an_open_one_be_changed_and_shares_no_default():
    one, other = Open(1), Open(1)
    one.b.append(2)
    one.a = 3
    assert (one.a, one.b, other.a, other.b) == (3, [2], 1, [])


def test_compiles_the_constructor_at_its_first_use_only():
    @dataclass(frozen=True)
    class Late:
        a: int

    assert not inspect.isfunction(vars(Late)["__init__"])
    assert Late(1).a == 1
    assert inspect.isfunction(vars(Late)["__init__"])


def test_inherits_fields_methods_and_own_overrides():
    @dataclass(frozen=True)
    class Base:
        a: int
        b: int = 1

        def __repr__(self):
            return "base"

    @dataclass(frozen=True)
    class Derived(Base):
        c: int = 2

        def __post_init__(self):
            object.__setattr__(self, "c", self.c + 1)

    assert (Derived(1).c, repr(Base(1))) == (3, "base")
    assert Derived(1) != Base(1)
    assert Derived(1) == Derived(1, 1, 2)


def test_refuses_a_field_that_is_no_ordinary_parameter():
    @dataclass(frozen=True)
    class Odd:
        a: int = dataclasses.field(default=1, kw_only=True)

    with pytest.raises(TypeError, match="must be an ordinary parameter"):
        Odd(a=1)


def test_replaces_through_the_constructor_where_more_than_fields_is_there():
    @dataclass(frozen=True)
    class Checked:
        a: int

        def __post_init__(self):
            if self.a < 0:
                raise ValueError("below 0")

    @dataclass(frozen=True)
    class Computed:
        a: int

        @functools.cached_property
        def double(self):
            return 2 * self.a

    with pytest.raises(ValueError, match="below 0"):
        replace(Checked(1), a=-1)
    seen = Computed(1)
    assert (seen.double, replace(seen, a=2).double) == (2, 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        replace(seen, z=1)
    assert replace(Theirs(1), a=2) == Theirs(2)
