"""ARKit blendshape tables as text: Live Link Face's CSV and whatever names its columns so (docs/driving.md)."""

from __future__ import annotations

import array
import csv
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spatialavatar.drive.arkit import arkit_recording, unmirrored_eyes
from spatialavatar.drive.arkit_names import known_columns
from spatialavatar.drive.plausible import plausible_columns
from spatialavatar.drive.recording import Recording
from spatialavatar.drive.time_codes import time_column
from spatialavatar.drive.time_line import MOST_FRAMES, time_line
from spatialavatar.errors import UserError
from spatialavatar.input_files import read_bytes
from spatialavatar.text import printable

MOST_COLUMNS = 10_000
"""No program writes more; a file of other content may hold millions of commas."""
_LARGEST = float(np.finfo(np.float32).max)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_COUNT_TITLE = "blendshapecount"
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class _Table:
    """columns: (T,) values by ARKit's names.
    stamps: (T) time stamps as they stand there, and the unit in their title; None where there are none.
    lines: (T) line of the file, from 1.
    """

    columns: dict[str, NDArray[np.float64]]
    stamps: tuple[list[str], str | None] | None
    lines: list[int]
    notes: list[str]


def read_arkit_table(path: str | os.PathLike[str], frame_rate: float | None = None) -> Recording:
    """Read a table with one row per frame and ARKit's names as columns, as Live Link Face writes it.

    Columns may be in any order and any of them missing (zero); others are ignored. A row without values, as the app
    writes when it loses the face, repeats the row before. Time stamps tell the frame rate, and rows that are missing
    are interpolated.

    Args:
        path: The file; commas, semicolons or tabs.
        frame_rate: Frames per second, whatever the time stamps say.

    Raises:
        UserError: Which row and column is wrong.
    """
    text, notes = text_of(path)
    return recording_of_table(text, path, frame_rate, notes)


def recording_of_table(
    text: str, path: str | os.PathLike[str], frame_rate: float | None, notes: Sequence[str] = ()
) -> Recording:
    """The same, of a file's content; `notes` are what was found in reading it."""
    table = _table(text, path)
    columns, more = plausible_columns(table.columns, path, lambda row: f"row {table.lines[row]}")
    columns, mirrored = unmirrored_eyes(columns)
    cells, unit = table.stamps if table.stamps is not None else (None, None)
    line = time_line(cells, unit, len(table.lines), frame_rate, path)
    said = (*notes, *table.notes, *more, *mirrored, *line.notes)
    return arkit_recording(columns, line.frame_rate, Path(path).name, line=line, notes=said)


def text_of(path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """The content of a text file as spreadsheets write them: UTF-8, UTF-16 with a mark, or Latin-1, which is said.

    Raises:
        UserError: It is missing, too large, or no text.
    """
    content = read_bytes(path)
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        return content.decode(encoding), []
    except UnicodeDecodeError as error:
        # Every byte is a letter of Latin-1, so bytes that no text has must tell.
        if encoding != "utf-8-sig" or re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", content):
            raise UserError(f"this is not a readable text file ({error}).", where=path) from None
    return content.decode("latin-1"), ["it is not UTF-8; it was read as Latin-1."]


def _table(text: str, path: str | os.PathLike[str]) -> _Table:
    rows = _rows(text, path)
    first = next(rows, None)
    if first is None:
        raise UserError("this table has no rows of values.", where=path)
    titles = first[1]
    if len(titles) > MOST_COLUMNS:
        raise UserError(f"this table has {len(titles):,} columns; up to {MOST_COLUMNS:,} are read.", where=path)
    known = known_columns(titles, str(path))
    time = time_column(titles)
    plain = [re.sub(r"[\W_]+", "", title[:40]).lower() for title in titles]
    count = plain.index(_COUNT_TITLE) if _COUNT_TITLE in plain else None
    needed = max([*known, *([time[0]] if time is not None else [])])
    held = dict.fromkeys(known.values(), 0.0)
    columns = {name: array.array("d") for name in held}
    stamps: list[str] = []
    lines: list[int] = []
    without, empty = 0, 0
    short: tuple[int, int] | None = None
    cut: tuple[int, int] | None = None
    for line, row in rows:
        # Only the last row may be cut: the recording was interrupted while it was written.
        if cut is not None:
            raise UserError(
                f"row {cut[0]} is cut short: it has {cut[1]} cells and the header {len(titles)} names.", where=path
            )
        if len(row) > len(titles) and any(cell.strip() for cell in row[len(titles) :]):
            raise UserError(f"row {line} has {len(row)} cells and the header {len(titles)} names.", where=path)
        if len(lines) == MOST_FRAMES:
            raise UserError(f"this table has more than {MOST_FRAMES:,} rows.", where=path)
        cells = {name: row[index].strip() if index < len(row) else "" for index, name in known.items()}
        faceless = count is not None and row[count : count + 1] == ["0"]
        lost = faceless or not any(cells.values())
        short = (line, len(row)) if len(row) <= needed and not faceless else None
        if short is not None and not lost:
            cut = short
            continue
        for name, cell in cells.items():
            if cell and not lost:
                held[name] = _number(cell, path, line, name)
            columns[name].append(held[name])
        without += lost
        empty += 0 if lost else sum(not cell for cell in cells.values())
        lines.append(line)
        if time is not None:
            stamps.append(row[time[0]] if time[0] < len(row) else "")
    if cut is None and short is not None:
        # Nothing but a part of a time stamp: cut off, too.
        cut, without = short, without - 1
        del lines[-1], stamps[-1:]
        for column in columns.values():
            column.pop()
    if not lines or without == len(lines):
        raise UserError("this table has no rows of values.", where=path)
    notes = []
    if cut is not None:
        notes.append(f"its last row (row {cut[0]}) is cut short and was left out.")
    if without:
        notes.append(f"{without:,} of its {len(lines):,} rows have no values; the face stays as in the row before.")
    if empty:
        notes.append(f"{empty:,} of its cells are empty; they keep the value of the row before.")
    values = {name: np.frombuffer(column, np.float64).copy() for name, column in columns.items()}
    return _Table(values, None if time is None else (stamps, time[1]), lines, notes)


def _rows(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line each ends on."""
    start = text.lstrip("\r\n")
    first = start.split("\n", 1)[0]
    skipped = len(text) - len(start)
    offset = text[:skipped].count("\n")
    delimiter = max(",;\t", key=first.count)
    # Excel's own first line, which names the delimiter.
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter, start, offset = first.strip()[4], start.partition("\n")[2], offset + 1
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num + offset, row
    except csv.Error as error:
        raise UserError(f"line {reader.line_num + offset} cannot be read as a table ({error}).", where=path) from None


def _number(cell: str, path: str | os.PathLike[str], row: int, column: str) -> float:
    plain = cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
    try:
        # Python reads underscores between digits, too; no program that exports numbers writes them.
        value = math.nan if "_" in plain else float(plain)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        what = "is too large" if math.isfinite(value) else "is not a number"
        raise UserError(f"row {row}, column {column}: '{printable(cell, 40)}' {what}.", where=path)
    return value
