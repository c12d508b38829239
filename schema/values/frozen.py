"""Dataclasses that cost next to nothing to define: shared methods, and an `__init__` that is made when first used.

The standard decorator compiles six methods a class, 0.8 ms on a small machine, and a command imports 150 classes of
which it uses half. Classes with as many fields share one compiled `__init__`, in which the names are exchanged. A class
decorated here has the same fields, signature, equality, hash, repr and errors; `replace` copies one in half the
time of the standard function.
"""

import builtins
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from functools import cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:
    from collections.abc import Callable
    from dataclasses import dataclass as standard
    from dataclasses import replace as standard_replace

    def dataclass(kind: type | None = None, *, frozen: bool = False) -> type | Callable[[type], type]:
        """Make a class a dataclass, as `dataclasses.dataclass` does; slots and keyword-only fields are not offered."""
        return (lambda decorated: _made(decorated, frozen)) if kind is None else _made(kind, frozen)

    def _made(kind: type, frozen: bool) -> type:
        # Without a docstring the standard decorator writes the signature there, which would compile it now.
        kind.__doc__ = kind.__doc__ or kind.__name__
        # Only below a frozen class does the standard decorator insist on its own guards.
        derived = frozen and any(hasattr(base, "__dataclass_fields__") for base in kind.__bases__)
        kind = standard(init=False, repr=False, eq=False, frozen=derived)(kind)
        own = vars(kind)
        if "__init__" not in own:
            kind.__replace__ = _replace
        shared = {"__repr__": _repr, "__eq__": _eq, "__hash__": _hash if frozen else None, "__init__": _Late(kind)}
        if frozen:
            shared |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
        for name, method in shared.items():
            if name not in own:
                setattr(kind, name, method)
        params = kind.__dataclass_params__
        params.init = params.repr = params.eq = True
        params.frozen = frozen
        return kind

    def replace(value: Any, /, **changes: Any) -> Any:
        """Copy a dataclass with other values in some of its fields, as `dataclasses.replace` does."""
        own = getattr(type(value), "__replace__", None)
        return standard_replace(value, **changes) if own is None else own(value, **changes)


class _Late:
    """Stands where `__init__` will be, and puts it there when somebody looks for it."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __get__(self, instance: object | None, owner: type) -> Any:
        made = _init(self._kind)
        setattr(self._kind, "__init__", made)  # noqa: B010 - an assignment is what a type checker forbids
        return made if instance is None else made.__get__(instance, owner)


def _init(kind: type) -> Any:
    """Make the `__init__` of a dataclass: the compiled one of its shape, with its own names and defaults in it."""
    ordinary = [field for field in fields(kind) if _is_parameter(field)]
    factories = {field.name: field.default_factory for field in ordinary if field.default_factory is not MISSING}
    settles = hasattr(kind, "__post_init__")
    code = _code(len(ordinary), bool(factories), settles)
    names = [field.name for field in ordinary]
    # Compiled under other names, each of which is a parameter and a key of what is set.
    own = {f"p{place}": name for place, name in enumerate(names)}
    code = code.replace(
        co_varnames=("self", *names, ".values"),
        co_consts=tuple(_renamed(constant, own) for constant in code.co_consts),
        co_qualname=f"{kind.__qualname__}.__init__",
    )
    scope = {"_set": object.__setattr__, "_make": _made_late(factories), "__builtins__": builtins}
    given = [MISSING if field.name in factories else field.default for field in ordinary]
    optional = [place for place, field in enumerate(ordinary) if field.name in factories or given[place] is not MISSING]
    defaults = tuple(given[optional[0] :]) if optional else None
    if optional and len(optional) < len(given) - optional[0]:
        raise TypeError(f"a field of {kind.__qualname__} without a default follows one that has one")
    made = FunctionType(code, scope, "__init__", defaults)
    made.__module__ = kind.__module__
    made.__annotations__ = {field.name: field.type for field in ordinary} | {"return": None}
    return made


def _renamed(constant: object, own: dict[str, str]) -> object:
    if isinstance(constant, tuple):  # the keys of a mapping
        return tuple([own.get(key, key) for key in constant])
    return own.get(constant, constant) if isinstance(constant, str) else constant


def _made_late(factories: dict[str, Any]) -> Any:
    """Return what calls the factories of the fields that were not given."""

    def make(values: dict[str, Any]) -> None:
        for name, factory in factories.items():
            if values[name] is MISSING:
                values[name] = factory()

    return make


@cache
def _code(parameters: int, makes: bool, settles: bool) -> CodeType:
    """Compile an `__init__` of so many parameters; all are set at once, which compiles and runs in half the time."""
    names = [f"p{place}" for place in range(parameters)]
    lines = [f" values = {{{', '.join(f'{name!r}: {name}' for name in names)}}}"]
    lines += [" _make(values)"] * makes + [" _set(self, '__dict__', values)"] + [" self.__post_init__()"] * settles
    module = compile(f"def __init__({', '.join(['self', *names])}):\n" + "\n".join(lines), "<frozen>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))


def _is_parameter(field: Field[Any]) -> bool:
    if not field.init or field.kw_only:
        raise TypeError(f"the field {field.name} must be an ordinary parameter")
    return True


def _values(value: Any) -> tuple[Any, ...]:
    return tuple([getattr(value, name) for name in value.__match_args__])


def _replace(self: Any, /, **changes: Any) -> Any:
    kind = type(self)
    values = {**self.__dict__, **changes}
    # Only what is checked or computed beside the fields, and an unknown field, need the constructor.
    if len(values) == len(kind.__match_args__) and not hasattr(kind, "__post_init__"):
        copy = object.__new__(kind)
        object.__setattr__(copy, "__dict__", values)
        return copy
    return kind(**{**{name: getattr(self, name) for name in kind.__match_args__}, **changes})


def _repr(self: Any) -> str:
    inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({inner})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _refuse_set(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
