"""Which cases a gate is about: read from the text that recipes and plans hold, and written back as it was."""

from typing import Literal

from titrant.schema.values.frozen import dataclass

_CLASS, _SUBGROUP, _AGAINST = "class ", "subgroup ", " / "


@dataclass(frozen=True)
class Slice:
    """All cases, those of a class, or those of a subgroup: alone, or against those of another value of the same group.

    `class_name` is there for a class; `group` and `value` for a subgroup, and `other`, the value that it is held
    against, where there is one. A group's name has no dot; class names and values may hold anything.
    """

    kind: Literal["all", "class", "subgroup"] = "all"
    class_name: str = ""
    group: str = ""
    value: str = ""
    other: str | None = None

    @property
    def text(self) -> str:
        """Write it as "all", "class X", "subgroup G.value" or "subgroup G.value / G.other"."""
        if self.kind == "all":
            return "all"
        if self.kind == "class":
            return f"{_CLASS}{self.class_name}"
        against = "" if self.other is None else f"{_AGAINST}{self.group}.{self.other}"
        return f"{_SUBGROUP}{self.subgroup}{against}"

    @property
    def subgroup(self) -> str:
        """The subgroup's name and value, as "G.value"."""
        return f"{self.group}.{self.value}"

    def sides(self) -> "tuple[Slice, ...]":
        """Return it as slices that each hold one set of cases: two where a value is held against another."""
        if self.other is None:
            return (self,)
        return tuple(Slice("subgroup", group=self.group, value=value) for value in (self.value, self.other))


ALL = Slice()


def read_slice(text: str, *, against: bool = False) -> Slice:
    """Read a slice from its text; `against` says that it may name two values of a subgroup.

    Without it " / " belongs to a value's name. With it the values part before the first " / " that the group's name
    and a dot follow. Raises ValueError, with a sentence for a person, for a text of another form.
    """
    if text == "all":
        return ALL
    if text.startswith(_CLASS):
        return Slice("class", class_name=text.removeprefix(_CLASS))
    group, dot, value = text.removeprefix(_SUBGROUP).partition(".")
    if not text.startswith(_SUBGROUP) or not dot:
        raise ValueError(f"`{text}` is not `all`, `class X` or `subgroup G.value`")
    first, parted, other = value.partition(f"{_AGAINST}{group}.") if against else (value, "", "")
    return Slice("subgroup", group=group, value=first, other=other if parted else None)
