"""Reads plain data and dense tensors from a file that `torch.save` wrote, and nothing else.

Torch's own reader calls no stranger's function, but it builds what a file asks for: terabytes, lists that
hold themselves, keys that take for ever to hash, tensors of every kind. Here each size is held against the
file's own size before anything is made.
"""

import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitlab.checkpoint.archive import STORAGES, Archive, MoreThanPlain, Tensors
from vitlab.quirks import STATE_DICT_VERSIONS

MOST_BYTES = 1 << 23
"""Of the part without the tensors' numbers; the largest ViTs with optimizer and average need a megabyte."""

MOST_NODES, MOST_LEVELS = 1_000_000, 64
"""Of the data as a tree. What is reached in several ways counts as often."""

LEAVES = (str, int, float, bytes, type(None), Tensor, torch.dtype)

CONSTANTS = {
    pickle.NONE[0]: None,
    pickle.NEWTRUE[0]: True,
    pickle.NEWFALSE[0]: False,
    pickle.EMPTY_TUPLE[0]: (),
}
EMPTY: dict[int, Callable[[], Any]] = {
    pickle.EMPTY_DICT[0]: dict,
    pickle.EMPTY_LIST[0]: list,
    pickle.EMPTY_SET[0]: set,
}
NUMBERS = {
    code[0]: struct.Struct(form)
    for code, form in (
        (pickle.BININT1, "<B"),
        (pickle.BININT2, "<H"),
        (pickle.BININT, "<i"),
        (pickle.BINFLOAT, ">d"),
    )
}
GET = {pickle.BINGET[0]: struct.Struct("<B"), pickle.LONG_BINGET[0]: struct.Struct("<I")}
PUT = {pickle.BINPUT[0]: GET[pickle.BINGET[0]], pickle.LONG_BINPUT[0]: GET[pickle.LONG_BINGET[0]]}
TUPLES = {pickle.TUPLE1[0]: 1, pickle.TUPLE2[0]: 2, pickle.TUPLE3[0]: 3}
LENGTHS = {
    pickle.BINUNICODE[0]: struct.Struct("<I"),
    pickle.SHORT_BINSTRING[0]: struct.Struct("<B"),
    pickle.LONG1[0]: struct.Struct("<B"),
}
GLOBAL, REDUCE, BUILD, BINPERSID = pickle.GLOBAL[0], pickle.REDUCE[0], pickle.BUILD[0], pickle.BINPERSID[0]
MARK, TUPLE, SETITEM, SETITEMS, APPEND, APPENDS = (
    code[0]
    for code in (pickle.MARK, pickle.TUPLE, pickle.SETITEM, pickle.SETITEMS, pickle.APPEND, pickle.APPENDS)
)
PROTO, STOP, UNICODE, LONG = pickle.PROTO[0], pickle.STOP[0], pickle.BINUNICODE[0], pickle.LONG1[0]


def _is_key(value: Any) -> bool:
    """Tells whether a value is hashed quickly and cannot have been made to share its hash with others."""
    if type(value) is tuple:
        return all(type(part) is not tuple and _is_key(part) for part in value)
    return value is None or type(value) in (str, bool) or (type(value) is int and abs(value) < 1 << 53)


def _set(items: Any) -> set[Any]:
    if not all(map(_is_key, items)):
        raise ValueError("a set has members that are no words or numbers")
    return set(items)


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise MoreThanPlain(f"text in {encoding}")
    return text.encode("latin1")


class _Unpickler:
    """The thirty opcodes by which torch.save writes plain data."""

    def __init__(self, content: bytes, tensors: Tensors):
        self.content = content
        self.at = 0
        self.tensors = tensors
        self.globals: dict[str, Any] = {
            "collections OrderedDict": OrderedDict,
            "torch._utils _rebuild_tensor_v2": tensors.tensor,
            "torch._utils _rebuild_parameter": lambda data, *_: data,
            "torch Size": tuple,
            "__builtin__ set": _set,
            "_codecs encode": _bytes,
            **{f"torch {name}": dtype for name, dtype in STORAGES.items()},
            **{str(dtype).replace(".", " "): dtype for dtype in STORAGES.values()},
        }

    def _number(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self.content, self.at)
        self.at += form.size
        return value

    def _named(self) -> Any:
        module_end = self.content.index(b"\n", self.at)
        end = self.content.index(b"\n", module_end + 1)
        name = self.content[self.at : end].decode().replace("\n", " ")
        self.at = end + 1
        if name not in self.globals:
            raise MoreThanPlain(name.replace(" ", "."))
        return self.globals[name]

    def _text(self, code: int) -> Any:
        length = self._number(LENGTHS[code])
        part = self.content[self.at : self.at + length]
        if len(part) < length:
            raise ValueError("a text is cut short")
        self.at += length
        return (
            str(part, "utf-8", "surrogatepass")
            if code == UNICODE
            else pickle.decode_long(part)
            if code == LONG
            else part
        )

    def load(self) -> Any:
        stack: list[Any] = []
        marks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        while True:
            code = self.content[self.at]
            self.at += 1
            if code in PUT:
                memo[self._number(PUT[code])] = stack[-1]
            elif code in GET:
                stack.append(memo[self._number(GET[code])])
            elif code in NUMBERS:
                stack.append(self._number(NUMBERS[code]))
            elif code in CONSTANTS:
                stack.append(CONSTANTS[code])
            elif code in LENGTHS:
                stack.append(self._text(code))
            elif code in EMPTY:
                stack.append(EMPTY[code]())
            elif code == MARK:
                marks.append(stack)
                stack = []
            elif code in TUPLES:
                if len(stack) < TUPLES[code]:
                    raise ValueError("a tuple lacks members")
                stack[-TUPLES[code] :] = [tuple(stack[-TUPLES[code] :])]
            elif code in (TUPLE, SETITEMS, APPENDS):
                items, stack = stack, marks.pop()
                self._fill(code, stack, items)
            elif code == SETITEM:
                items = [stack.pop(-2), stack.pop()]
                self._fill(code, stack, items)
            elif code == APPEND:
                items = [stack.pop()]
                self._fill(code, stack, items)
            elif code == GLOBAL:
                stack.append(self._named())
            elif code == BINPERSID:
                stack.append(self.tensors.storage(*stack.pop()))
            elif code == REDUCE:
                arguments = stack.pop()
                if (
                    not callable(stack[-1])
                    or type(arguments) is not tuple
                    or (stack[-1] is OrderedDict and arguments)
                ):
                    raise MoreThanPlain("a call")
                stack[-1] = stack[-1](*arguments)
            elif code == BUILD:  # a state dict's versions of its modules
                state = stack.pop()
                if (
                    type(stack[-1]) is not OrderedDict
                    or type(state) is not dict
                    or state.keys() - {STATE_DICT_VERSIONS}
                ):
                    raise MoreThanPlain("attributes")
                vars(stack[-1]).update(state)
            elif code == PROTO:
                self.at += 1
            elif code == STOP:
                return stack.pop()
            else:
                raise MoreThanPlain(f"opcode {code}")

    def _fill(self, code: int, stack: list[Any], items: list[Any]) -> None:
        """Puts items into the list or dict that ends the stack, or makes a tuple of them."""
        if code == TUPLE:
            stack.append(tuple(items))
        elif code in (APPEND, APPENDS):
            if type(stack[-1]) is not list:
                raise ValueError("a list is none")
            stack[-1].extend(items)
        else:
            if (
                type(stack[-1]) not in (dict, OrderedDict)
                or len(items) % 2
                or not all(map(_is_key, items[::2]))
            ):
                raise ValueError("a mapping is none, or has keys that are no words or numbers")
            stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _check_tree(root: Any) -> None:
    """Raises ValueError where a walk through the data would be too long, or endless."""
    level, left = [root], MOST_NODES
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for node in level:
            if isinstance(node, str | bytes):
                left -= len(node) >> 6
            elif isinstance(node, dict | list | tuple | set):
                left -= len(node)
                if left >= 0:
                    below.extend(node.values() if isinstance(node, dict) else node)
                if type(node) is OrderedDict:
                    below.extend(vars(node).values())
            elif not isinstance(node, LEAVES):
                raise MoreThanPlain(type(node).__name__)
        if left < 0:
            break
        if not below:
            return
        level = below
    raise ValueError("its lists are nested too deeply, or too many")


def read_plain(path: Path) -> Any:
    """Returns what `torch.save` wrote, on the CPU. Raises MoreThanPlain, or ValueError for other faults."""
    with path.open("rb") as file:
        try:
            archive = Archive(file)
            if archive.records[archive.top + "data.pkl"].file_size > MOST_BYTES:
                raise ValueError("its description is too long")
            if archive.top + "byteorder" in archive.records and archive.read("byteorder") != b"little":
                raise ValueError("its numbers are those of a big-endian machine")
            content = _Unpickler(bytes(archive.read("data.pkl")), Tensors(archive)).load()
            _check_tree(content)
        except (ValueError, OSError, MemoryError):
            raise
        except Exception as error:  # a stranger's file may trip any part of a reader
            raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())[:120]}") from error
        return content
