"""Files damaged at random, to see that a reader either reads them or says what is wrong."""

from __future__ import annotations

import io
import itertools
import random
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from spatialavatar.drive.recording import Recording
from spatialavatar.errors import UserError

_PIECES = (
    *(b"", b"\0", b"\n", b"\r", b",", b";", b"|", b'"', b"-", b"nan", b"1e39", b"-1e308", b"9" * 400, b"inf"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", "１".encode(), b"1_0", b"[" * 50, b"{", b"null", b"true", b"::", b"0x10"),
    *(b"23:59:59:59.999", b"00:00:00:00.000", b"1e18", b"99:99:99:99", b"sep=;\n", b"JawOpen", b"#", b"&"),
)


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies: bytes changed, cut out, doubled, or replaced by what parsers trip over."""
    chance = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            start = chance.randrange(len(damaged) + 1)
            end = min(len(damaged), start + chance.choice((0, 1, 1, 2, 8, 64, 1000)))
            kind = chance.randrange(6)
            if kind == 0:
                damaged[start:end] = b""
            elif kind == 1:
                damaged[start:end] = bytes(chance.randrange(256) for _ in range(end - start))
            elif kind == 2:
                damaged[start:start] = damaged[start:end]
            elif kind == 3:
                damaged[start:end] = chance.choice(_PIECES)
            elif kind == 4 and start < len(damaged):
                damaged[start] ^= 1 << chance.randrange(8)
            elif kind == 5:
                del damaged[start:]
        yield bytes(damaged)


def member_mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Copies of a zip archive that is sound itself, with one of its files damaged: past what checksums find."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chance = random.Random(seed)
    for number in range(count):
        name = chance.choice(list(members))
        # Half of the damage goes to the header of the array, where most can go wrong.
        head = members[name][: 128 if chance.random() < 0.5 else len(members[name])]
        damaged = next(mutations(head, 1, seed + number)) + members[name][len(head) :]
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for other, data in members.items():
                archive.writestr(other, damaged if other == name else data)
        yield written.getvalue()


def read_all(
    read: Callable[[Path], Recording], path: Path, content: bytes, count: int, seed: int = 0
) -> tuple[int, int]:
    """How many damaged files were read and how many refused; anything but a UserError or a sound recording fails."""
    taken = refused = 0
    kinds = [mutations(content, count, seed)]
    if path.suffix == ".npz":
        kinds.append(member_mutations(content, count, seed))
    for number, damaged in enumerate(itertools.chain(*kinds)):
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings():
                # What numpy warns of is a value that was not checked.
                warnings.simplefilter("error", RuntimeWarning)
                recording = read(path)
        except UserError as error:
            assert "\x1b" not in str(error) and len(str(error)) < 1500, number
            refused += 1
            continue
        except Exception as error:
            raise AssertionError(f"mutation {number} of {path.name}: {error!r}") from error
        motion = recording.motion
        assert len(motion) > 0 and 0.1 <= recording.frame_rate <= 1000, number
        for name in ("expression", "neck_rotation", "eyes_rotation", "jaw_rotation", "global_rotation", "translation"):
            assert bool(getattr(motion, name).isfinite().all()), (number, name)
        taken += 1
    return taken, refused
