"""Damage to files: bits, cuts and splices anywhere, and changes that know the format and get past its first checks."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any

# What lengths, counts and numbers break on.
WHOLE = (
    0,
    1,
    -1,
    2,
    7,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**48,
    2**53,
    2**63 - 1,
    2**63,
    10**30,
)
NUMBERS = (*WHOLE, 0.0, -0.0, 1e-300, 1e39, 1e300, -1e39, 0.5, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    *("", " ", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "nul", "a\0b", "\x1b[2J", "\ud800", "\u202e"),
    *("x" * 300, "é" * 120, "1", "nan", "1e999", "-1", "[/red]", "٣", "²", "a" * 5000),
)
WEIRD: tuple[Any, ...] = (*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], {"a": 1}, [1] * 1000, 10**400)


def mutated(content: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """A damaged copy.

    Args:
        content: The file.
        chance: Decides what happens; the same state gives the same damage.
        other: Another file, parts of which may be put in.
    """
    if chance.random() < 0.65:
        try:
            for starts, change in _FORMATS:
                if starts(content):
                    return change(content, chance)
        except (ValueError, KeyError, IndexError, struct.error, zipfile.BadZipFile, RecursionError, OverflowError):
            pass
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = _anywhere(content, chance, other)
    return content


def _anywhere(content: bytes, chance: random.Random, other: bytes) -> bytes:
    if not content:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(20)))
    data, at = bytearray(content), chance.randrange(len(content))
    if chance.random() < 0.4:
        at = min(at, chance.randrange(512))  # headers stand in front
    kind = chance.randrange(9)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif kind == 2:
        return content[:at]
    elif kind == 3:
        del data[at : at + chance.choice((1, 2, 4, 8, chance.randrange(1, 200)))]
    elif kind == 4:
        part = content[at : at + chance.randrange(1, 100)]
        data[at:at] = part * chance.choice((1, 1, 2, 50))
    elif kind == 5:
        data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 20)))
    elif kind == 6 and other:
        start = chance.randrange(len(other))
        part = other[start : start + chance.randrange(1, 400)]
        data[at : at + (len(part) if chance.random() < 0.5 else 0)] = part
    elif kind == 7:
        width = chance.choice((2, 4, 8))
        value = chance.choice((*WHOLE, len(content), len(content) - at)) % (1 << 8 * width)
        data[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))
    else:
        # NaN, infinity, the largest float32 and a float64 beyond it.
        data[at : at + 8] = chance.choice(
            (struct.pack("<f", float("nan")), struct.pack("<f", 3e38), struct.pack("<d", 1e300))
        )
    return bytes(data)


# ---------------------------------------------------------------- JSON


def _places(value: Any, depth: int = 0) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside, not too deep."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[Any, Any]] = []
    for key, inside in list(entries)[:200]:
        found.append((value, key))
        if depth < 6:
            found += _places(inside, depth + 1)
    return found


def change_value(value: Any, chance: random.Random) -> Any:
    """A JSON value with one or a few of its parts changed."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = _places(value)
        if not places or chance.random() < 0.02:
            return chance.choice(WEIRD)
        container, key = chance.choice(places)
        kind, old = chance.randrange(8), container[key]
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[chance.choice(TEXTS) or "x"] = container.pop(key)
        elif kind == 2 and isinstance(old, str):
            at = chance.randrange(len(old) + 1)
            container[key] = old[:at] + chance.choice(TEXTS) + old[at:]
        elif kind == 3 and isinstance(container, list):
            container[key:key] = [old] * chance.choice((1, 2, 300))
        elif kind == 4:
            other, there = chance.choice(places)
            if (isinstance(other, dict) and there in other) or (isinstance(other, list) and there < len(other)):
                container[key] = json.loads(json.dumps(other[there]))
        elif kind == 5:
            container[key] = [old]
        else:
            container[key] = chance.choice(
                NUMBERS if isinstance(old, (int, float)) and chance.random() < 0.6 else WEIRD
            )
    return value


def change_json(content: bytes, chance: random.Random) -> bytes:
    """JSON text that is changed as a structure, and a little as a text."""
    text = json.dumps(change_value(json.loads(content), chance))
    kind = chance.randrange(12)
    if kind == 0:
        text = text.replace(":", ": " + "[" * chance.choice((10, 3000, 100_000)), 1)
    elif kind == 1:
        text = text.replace("0", "1e999", 1)
    elif kind == 2:
        text = text.replace("1", "9" * chance.choice((20, 400, 5000)), 1)
    return text.encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------- safetensors


def change_safetensors(content: bytes, chance: random.Random) -> bytes:
    """A header that is changed as a structure and has its right length, or other bytes in the tensors."""
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    kind = chance.randrange(5)
    if kind == 0 and body:
        at = chance.randrange(len(body)) // 4 * 4
        body[at : at + 4] = struct.pack("<f", chance.choice((float("nan"), float("inf"), 3e38, -1e30, 1e-40)))
    elif kind in (1, 2) and "header" in header.get("__metadata__", {}):
        header["__metadata__"]["header"] = change_json(header["__metadata__"]["header"].encode(), chance).decode(
            "utf-8", "replace"
        )
    elif kind == 3:
        # A tensor of another shape whose size is right.
        name = chance.choice([name for name in header if name != "__metadata__"])
        start, end = header[name]["data_offsets"]
        size = {"F64": 8, "I64": 8, "F16": 2, "BF16": 2, "U8": 1, "BOOL": 1}.get(header[name]["dtype"], 4)
        count = chance.choice(((end - start) // size, chance.randrange(0, (end - start) // size + 1)))
        header[name]["shape"] = chance.choice(([count], [1, count], [count, 1], [0, count] if count == 0 else [count]))
        header[name]["data_offsets"] = [start, start + count * size]
    else:
        header = change_value(header, chance)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = len(text) if chance.random() < 0.95 else chance.choice(WHOLE) % 2**64
    return length.to_bytes(8, "little") + text + bytes(body)


# ---------------------------------------------------------------- zip, npz, npy


def change_zip(content: bytes, chance: random.Random) -> bytes:
    """An archive with members changed, renamed, left out, doubled or packed in another way."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    at = chance.randrange(len(members))
    name, data, kind = members[at]
    what = chance.randrange(10)
    if what == 0:
        del members[at]
    elif what == 1:
        members.append(members[at])
    elif what == 2:
        members[at] = (
            chance.choice([*TEXTS, *(name for name, _, _ in members)]).replace("\ud800", "") or "x",
            data,
            kind,
        )
    elif what == 3:
        members[at] = (name, data, chance.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
    else:
        members[at] = (name, mutated(data, chance, members[chance.randrange(len(members))][1]), kind)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data, kind in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=kind)
    made = stream.getvalue()
    # Sizes in the directory at the end, which nothing else reaches.
    return (
        _anywhere(made[-200:], chance, b"") and made[:-200] + _anywhere(made[-200:], chance, b"") if what == 9 else made
    )


def change_npy(content: bytes, chance: random.Random) -> bytes:
    """An array with another header, or other numbers."""
    length = int.from_bytes(content[8:10], "little")
    header, body = content[10 : 10 + length].decode("latin1"), bytearray(content[10 + length :])
    kind = chance.randrange(6)
    if kind == 0:
        shape = tuple(chance.choice((*WHOLE[:9], 2**40, 10**30)) for _ in range(chance.randrange(5)))
        header = header[: header.index("'shape'")] + f"'shape': {shape}, }}"
    elif kind == 1:
        kinds = (
            "<f8",
            "<f4",
            "<f2",
            ">f4",
            "<i8",
            "<u1",
            "|b1",
            "<U4",
            "|S9",
            "|O",
            "<c16",
            "<M8[s]",
            "|V3",
            "<f3",
            "3f4",
        )
        start = header.index("'descr': ") + 9
        header = header[:start] + repr(chance.choice(kinds)) + header[header.index(",", start) :]
    elif kind == 2:
        header = header.replace("False", chance.choice(("True", "None", "1", "(" * 3000, "__import__('os')")))
    elif kind == 3:
        at = chance.randrange(len(header))
        header = header[:at] + chance.choice("{}()[]',:\\0xé") + header[at + chance.randrange(2) :]
    elif body:
        value = chance.choice(NUMBERS)
        packed = struct.pack(*chance.choice((("<d", float(value)), ("<f", float("nan")), ("<q", -1), ("<I", 0x110000))))
        at = chance.randrange(len(body)) // 8 * 8
        body[at : at + len(packed)] = packed
    text = (header.rstrip() + " " * chance.choice((0, 3, 40)) + "\n").encode("latin1", "replace")
    return content[:8] + (len(text) % 65536).to_bytes(2, "little") + text + bytes(body)


# ---------------------------------------------------------------- pickles, tables, tars, pictures, LMDB

_INSTRUCTIONS = (
    *(
        b"0",
        b"1",
        b"2",
        b"(",
        b")",
        b"]",
        b"}",
        b"a",
        b"e",
        b"s",
        b"u",
        b"t",
        b"l",
        b"d",
        b"\x85",
        b"\x86",
        b"\x87",
        b"R",
    ),
    *(
        b"b",
        b"\x81",
        b"\x92",
        b"\x93",
        b"\x94",
        b"N",
        b"h\x00",
        b"h\x03",
        b"q\x00",
        b"r\xff\xff\xff\x7f",
        b"j\x00\x01\0\0",
    ),
    *(
        b"K\x07",
        b"J\xff\xff\xff\xff",
        b"I99\n",
        b"Lx\n",
        b"G" + struct.pack(">d", float("nan")),
        b"F1e999\n",
        b"\x8f",
        b"\x90",
    ),
    *(
        b"cos\nsystem\n",
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
        b"c_codecs\nencode\n",
        b"c__builtin__\nobject\n",
        b"Pid\n",
    ),
    *(
        b"X\xff\xff\xff\x7f",
        b"\x8d" + b"\xff" * 7 + b"\x7f",
        b"\x96" + (1 << 34).to_bytes(8, "little"),
        b"\x95" + b"\xff" * 8,
    ),
    *(
        b"\x8a\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"cscipy.sparse._csr\ncsr_matrix\n",
        b"ccopy_reg\n_reconstructor\n",
        b"\x80\x05",
        b".",
    ),
)


def change_pickle(content: bytes, chance: random.Random) -> bytes:
    """A pickle with instructions put in, or with other numbers in its arrays."""
    at = chance.randrange(len(content))
    if chance.random() < 0.3:
        value = struct.pack(*chance.choice((("<d", float("nan")), ("<d", 1e300), ("<f", float("inf")), ("<q", 2**40))))
        return content[:at] + value + content[at + len(value) :]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content))
        content = content[:at] + chance.choice(_INSTRUCTIONS) + content[at + chance.choice((0, 0, 1, 2)) :]
    return content


def change_table(content: bytes, chance: random.Random) -> bytes:
    """A CSV with cells, titles, rows or separators changed."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    kind = chance.randrange(8)
    row = chance.choice(rows)
    if kind == 0:
        rows.remove(row)
    elif kind == 1:
        rows.insert(chance.randrange(len(rows)), row * chance.choice((1, 2, 40)))
    elif kind == 2:
        del row[chance.randrange(len(row)) :]
    elif kind == 3:
        return content.replace(b",", chance.choice((b";", b"\t", b",,", b"\0", b'"', b",\n")), chance.choice((1, -1)))
    else:
        for _ in range(chance.choice((1, 1, 5))):
            row[chance.randrange(len(row))] = str(
                chance.choice((*NUMBERS, *TEXTS, "00:00:99:99.999", "a:b:c:d", "1:2:3:٣"))
            )
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "surrogatepass")


def change_tar(content: bytes, chance: random.Random) -> bytes:
    """A tar with fields of one header changed and its checksum made right again."""
    data = bytearray(content)
    headers = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    at = chance.choice(headers)
    kind = chance.randrange(5)
    if kind == 0:
        name = chance.choice(TEXTS).encode("utf-8", "surrogatepass") + chance.choice(
            (b"", b".sequence.json", b".x.image.png")
        )
        data[at : at + 100] = name[:100].ljust(100, b"\0")
    elif kind == 1:
        size = chance.choice(
            (b"77777777777\0", b"00000000000\0", b"\x80" + b"\xff" * 11, b"\x80" + bytes(6) + b"\7" + bytes(4))
        )
        data[at + 124 : at + 136] = size
    elif kind == 2:
        data[at + 156] = chance.choice(b"0123456789SxXgLKDVNM\0z")
    elif kind == 3:
        where = at + chance.randrange(512)
        data[where] = chance.randrange(256)
    else:
        other = chance.choice(headers)
        data[at : at + 100] = data[other : other + 100]
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % (sum(data[at : at + 512]) % 0o1000000)
    return bytes(data)


def change_png(content: bytes, chance: random.Random) -> bytes:
    """A PNG with one chunk changed and its checksum made right again."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    index = chance.randrange(len(chunks))
    kind, data = chunks[index]
    if kind == b"IHDR" and chance.random() < 0.8:
        side = chance.choice((0, 1, 3, 16, 17, 65535, 2**31 - 1, 12_000))
        data = chance.choice(
            (side.to_bytes(4, "big") + data[4:], data[:8] + bytes(chance.randrange(20) for _ in range(5)))
        )
    elif chance.random() < 0.3:
        kind = chance.choice((b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"zTXt", b"acTL", b"IEND", b"gAMA", b"fdAT"))
    else:
        data = _anywhere(data, chance, content)
    chunks[index] = (kind, data)
    if chance.random() < 0.2:
        chunks.insert(index, chance.choice(chunks))
    parts = (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )
    return content[:8] + b"".join(parts)


def change_pages(content: bytes, chance: random.Random) -> bytes:
    """An LMDB with a number in one page's header, node or meta data changed."""
    data = bytearray(content)
    page = chance.randrange(len(data) // 4096) * 4096
    at = page + chance.choice((chance.randrange(160), chance.randrange(4096), 4096 - 1 - chance.randrange(64))) // 2 * 2
    width = chance.choice((2, 2, 4, 8))
    value = chance.choice((*WHOLE, page // 4096, page // 4096 + 1, chance.randrange(65536))) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, "little")
    return bytes(data[: len(content)])


def _is_table(content: bytes) -> bool:
    return b"," in content[:200] and b"\n" in content[:3000] and content[:200].isascii()


_FORMATS = (
    (lambda content: content[:1] in (b"{", b"["), change_json),
    (lambda content: content[8:10] == b'{"' and content[6:8] == b"\0\0", change_safetensors),
    (lambda content: content[:4] == b"PK\3\4", change_zip),
    (lambda content: content[:6] == b"\x93NUMPY", change_npy),
    (lambda content: content[:1] == b"\x80" and content[-1:] == b".", change_pickle),
    (lambda content: content[257:262] == b"ustar", change_tar),
    (lambda content: content[:8] == b"\x89PNG\r\n\x1a\n", change_png),
    (lambda content: content[16:20] == b"\xde\xc0\xef\xbe", change_pages),
    (_is_table, change_table),
)
