"""LMDB's data file, read without mapping it into memory.

The library trusts the file: what is cut short or changed ends the process with a signal. Only what sets of pictures
need is read here, one table of keys and values; the library's own header files describe the pages (`mdb.c`).

A file is pages of one size. The first two are meta pages, of which the newer whole one says where the table's root is.
Branch pages hold keys and the pages below, leaf pages keys and values; a large value lies on pages of its own.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from spatialavatar.errors import UserError
from spatialavatar.input_files import check_regular_file

FILE = "data.mdb"

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_PAGE_HEADER = struct.Struct("<QHHHH")  # number, size of keys, flags, lower and upper bound of the free space
_META = struct.Struct(
    "<IIQQ48s48sQQ"
)  # magic, version, address, map size, free table, main table, last page, transaction
_TABLE = struct.Struct("<IHHQQQQQ")  # pad (page size in the first), flags, depth, pages of three kinds, entries, root
_NODE = struct.Struct("<HHHH")  # size or page in two halves, flags, size of the key
_BRANCH, _LEAF, _OVERFLOW, _META_FLAG = 1, 2, 4, 8
_LARGE, _OTHER_KINDS = 1, 2 | 4
_NO_PAGE = (1 << 64) - 1
_DEEPEST = 32
"""Levels of the tree; the library allows as many."""
_PAGE_SIZES = tuple(1 << power for power in range(9, 17))
LARGEST_VALUE = 256 << 20
"""Bytes of one picture."""


@dataclass(frozen=True)
class LmdbFile:
    """The main table of a database.

    path: The data file.
    page_size: Bytes of a page.
    root: Its root page; None of an empty table.
    """

    path: Path
    page_size: int
    root: int | None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order of the keys.

        Raises:
            UserError: The file is cut short or damaged.
        """
        if self.root is None:
            return
        try:
            with self.path.open("rb") as file:
                yield from _Pages(file, self).below(self.root, 0)
        except (OSError, struct.error, IndexError) as error:
            raise _damaged(self.path, str(error)) from None

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None.

        Raises:
            UserError: The file is cut short or damaged.
        """
        if self.root is None:
            return None
        try:
            with self.path.open("rb") as file:
                return _Pages(file, self).find(self.root, key)
        except (OSError, struct.error, IndexError) as error:
            raise _damaged(self.path, str(error)) from None


def open_lmdb(folder: Path) -> LmdbFile:
    """A database by its folder.

    Raises:
        UserError: There is none, it is cut short, or it holds more than one table of plain keys and values.
    """
    path = folder / FILE
    size = check_regular_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(1 << 17)
    except OSError as error:
        raise UserError(f"this file cannot be read ({error.strerror}).", where=path) from None
    metas = [found for page_size in (0, *_PAGE_SIZES) if (found := _meta(start[page_size:])) is not None]
    if not metas:
        raise UserError("this is no LMDB of a kind that is read.", where=path)
    page_size = metas[0][0]
    metas = [meta for meta in (_meta(start), _meta(start[page_size:])) if meta is not None]
    page_size, last, root, flags, _ = max(metas, key=lambda meta: meta[4])
    if page_size not in _PAGE_SIZES:
        raise _damaged(path, f"pages of {page_size} bytes")
    if (last + 1) * page_size > size:
        raise UserError(
            f"this LMDB is cut short: it has {size:,} bytes and announces {(last + 1) * page_size:,}.",
            where=path,
            hint="Copy or download it again.",
        )
    if flags:
        raise UserError("this LMDB holds more than plain keys and values.", where=path)
    return LmdbFile(path, page_size, None if root == _NO_PAGE else root)


def _meta(page: bytes) -> tuple[int, int, int, int, int] | None:
    """Page size, last page, root, flags and transaction of a meta page; None of what is none."""
    if len(page) < _PAGE_HEADER.size + _META.size:
        return None
    magic, version, _, _, free, main, last, transaction = _META.unpack_from(page, _PAGE_HEADER.size)
    if magic != _MAGIC or version != _VERSION or not _PAGE_HEADER.unpack_from(page)[2] & _META_FLAG:
        return None
    page_size = _TABLE.unpack(free)[0]
    _, flags, _, _, _, _, _, root = _TABLE.unpack(main)
    return page_size, last, root, flags, transaction


class _Pages:
    """Pages of an open file; every offset in them is checked."""

    def __init__(self, stream: BinaryIO, file: LmdbFile):
        self.stream, self.file = stream, file
        self.size = os.fstat(stream.fileno()).st_size
        self.seen: set[int] = set()

    def _once(self, first: int, count: int = 1) -> None:
        """Take pages that belong to one place of the tree only."""
        if not first <= first + count <= self.size // self.file.page_size:
            raise _damaged(self.file.path, "a page beyond its end")
        if any(number in self.seen for number in range(first, first + count)):
            raise _damaged(self.file.path, "two places name one page")
        self.seen.update(range(first, first + count))

    def below(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values under a page."""
        if depth > _DEEPEST:
            raise _damaged(self.file.path, "too many levels")
        self._once(number)
        flags, page, nodes = self._nodes(number)
        for node in nodes:
            low, high, kinds, length = _NODE.unpack_from(page, node)
            key = _cut(page, node + _NODE.size, length)
            if flags & _LEAF:
                yield key, self._value(page, node + _NODE.size + length, low | high << 16, kinds)
            else:
                yield from self.below(low | high << 16 | kinds << 32, depth + 1)

    def find(self, number: int, wanted: bytes) -> bytes | None:
        """The value of a key under a page."""
        for _ in range(_DEEPEST):
            flags, page, nodes = self._nodes(number)
            below = None
            for position, node in enumerate(nodes):
                low, high, kinds, length = _NODE.unpack_from(page, node)
                key = _cut(page, node + _NODE.size, length)
                if flags & _LEAF:
                    if key == wanted:
                        return self._value(page, node + _NODE.size + length, low | high << 16, kinds)
                elif position == 0 or key <= wanted:
                    # The first key of a branch page stands for all that are lower.
                    below = low | high << 16 | kinds << 32
            if below is None:
                return None
            number = below
        raise _damaged(self.file.path, "too many levels")

    def _nodes(self, number: int) -> tuple[int, bytes, tuple[int, ...]]:
        """A branch or leaf page: its flags, its bytes, and where its nodes begin."""
        page = self._read(number * self.file.page_size, self.file.page_size)
        found, _, flags, lower, _ = _PAGE_HEADER.unpack_from(page)
        if found != number or flags & (_BRANCH | _LEAF | _OVERFLOW) not in (_BRANCH, _LEAF) or lower < 16 or lower % 2:
            raise _damaged(self.file.path, f"page {number}")
        return flags, page, struct.unpack_from(f"<{(lower - 16) // 2}H", page, _PAGE_HEADER.size)

    def _value(self, page: bytes, start: int, size: int, kinds: int) -> bytes:
        if kinds & _OTHER_KINDS:
            raise _damaged(self.file.path, "it holds other tables")
        if not kinds & _LARGE:
            return _cut(page, start, size)
        if size > LARGEST_VALUE:
            raise _damaged(self.file.path, f"a value of {size:,} bytes")
        (number,) = struct.unpack_from("<Q", page, start)
        header = self._read(number * self.file.page_size, _PAGE_HEADER.size)
        found, _, flags, low, high = _PAGE_HEADER.unpack(header)
        pages = low | high << 16
        if found != number or not flags & _OVERFLOW or pages * self.file.page_size < size + _PAGE_HEADER.size:
            raise _damaged(self.file.path, f"page {number}")
        self._once(number, pages)
        return self._read(number * self.file.page_size + _PAGE_HEADER.size, size)

    def _read(self, start: int, size: int) -> bytes:
        if not 0 <= start <= self.size - size:
            raise _damaged(self.file.path, "a page beyond its end")
        self.stream.seek(start)
        content = self.stream.read(size)
        if len(content) != size:
            raise _damaged(self.file.path, "it was cut while it was read")
        return content


def _cut(page: bytes, start: int, size: int) -> bytes:
    if start + size > len(page):
        raise IndexError("a node beyond its page")
    return page[start : start + size]


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"this LMDB is damaged ({what}).", where=path, hint="Copy or download it again.")
