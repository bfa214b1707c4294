"""Pickles read as data: what a pickle names is never imported, looked up or called.

The machine below knows how to build lists, dicts and records that do nothing. A name outside the allow-list,
a call of anything but the few functions given for it, and every opcode that torch does not write are refused,
so there is nothing in a file that could run.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

_LITERALS = frozenset(
    [
        "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE",
        "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
    ]
)  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_PUT, _GET = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}


class RefusedError(ValueError):
    """A file asks for something outside the allow-list."""


class Name(str):
    """The full name of a class or function in a pickle: a text, nothing more."""


@dataclass
class Record:
    """An object in a pickle: the name of its class and what was stored of it."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)


def read_pickle(
    data: bytes,
    where: str,
    *,
    names: Collection[str],
    functions: Mapping[str, Callable[..., Any]],
    persistent: Callable[[Any], Any],
) -> Any:
    """The object of a pickle, made of plain values, `Name`s and `Record`s.

    names: classes and functions that may be mentioned. functions: our own stand-ins for those that may be
    called. persistent: makes a value of a persistent id. Raises RefusedError, with the name, for anything
    else, and ValueError when the pickle is truncated or makes no sense; `where` names the file in both.
    """
    machine = _Machine(where, names, functions, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except RefusedError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where} holds a broken pickle ({error}); fetch the file again") from error
    raise ValueError(f"{where} holds a pickle without an end; fetch the file again")


class _Machine:
    """The stack, the marks on it and the memo of one pickle."""

    def __init__(
        self,
        where: str,
        names: Collection[str],
        functions: Mapping[str, Callable[..., Any]],
        persistent: Callable[[Any], Any],
    ) -> None:
        self._where, self._names, self._functions, self._persistent = where, names, functions, persistent
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode; the containers and the objects have methods of their own."""
        push = self.stack.append
        if opcode in _LITERALS:
            push(argument)
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode]())
        elif opcode in _PUT:
            self._memo[argument] = self.stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = self.stack[-1]
        elif opcode in _GET:
            push(self._memo[argument])
        elif opcode == "MARK":
            self._marks.append(len(self.stack))
        elif (
            opcode not in ("PROTO", "FRAME")
            and not self._container(opcode)
            and not self._object(opcode, argument)
        ):
            raise RefusedError(
                f"{self._where} uses the pickle opcode {opcode}, which no SAE needs; it was not opened"
            )

    def _container(self, opcode: str) -> bool:
        if opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.stack.append(tuple(self._pop(int(opcode[-1]))))
        elif opcode == "TUPLE":
            self.stack.append(tuple(self._since_mark()))
        elif opcode in ("APPEND", "APPENDS"):
            values = self._pop(1) if opcode == "APPEND" else self._since_mark()
            _of_type(self.stack[-1], list).extend(values)
        elif opcode in ("SETITEM", "SETITEMS"):
            values = self._pop(2) if opcode == "SETITEM" else self._since_mark()
            _of_type(self.stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))
        else:
            return False
        return True

    def _object(self, opcode: str, argument: Any) -> bool:
        if opcode == "GLOBAL":
            self.stack.append(self._named(argument.replace(" ", ".")))
        elif opcode == "STACK_GLOBAL":
            module, name = self._pop(2)
            self.stack.append(self._named(f"{module}.{name}"))
        elif opcode == "BINPERSID":
            self.stack.append(self._persistent(self.stack.pop()))
        elif opcode == "NEWOBJ":
            kind, arguments = self._pop(2)
            if arguments != ():
                raise RefusedError(
                    f"{self._where} builds {kind} with arguments, which no SAE needs; it was not opened"
                )
            self.stack.append(Record(str(_of_type(kind, Name))))
        elif opcode == "REDUCE":
            function, arguments = self._pop(2)
            if not isinstance(function, Name) or function not in self._functions:
                raise RefusedError(f"{self._where} calls {function}, which no SAE needs; it was not opened")
            self.stack.append(self._functions[function](*arguments))
        elif opcode == "BUILD":
            state = self.stack.pop()
            if isinstance(self.stack[-1], Record):  # the state of a dict is a state dict's version numbers
                self.stack[-1].attributes.update(_of_type(state, dict))
        else:
            return False
        return True

    def _named(self, name: str) -> Name:
        if name not in self._names and name not in self._functions:
            raise RefusedError(
                f"{self._where} names {name}, which no SAE of this kind needs; it was not opened"
            )
        return Name(name)

    def _pop(self, n: int) -> list[Any]:
        if len(self.stack) < n:
            raise IndexError("the stack is empty")
        values = self.stack[-n:]
        del self.stack[-n:]
        return values

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, found {type(value).__name__}")
    return value
