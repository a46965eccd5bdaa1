"""The house: a room imports only from rooms before it, and no file outgrows a reader."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "spatialavatar"
ROOMS = (
    *("errors", "text", "interrupts", "locks", "unfinished", "files", "input_files", "progress"),
    *("head", "splat", "avatar", "sequence", "drive", "export", "track", "prepare"),
    *("generate", "refine", "synth", "train", "evaluate", "view", "create", "bench", "cli"),
)
LONGEST_FILE = 500


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports from, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "spatialavatar" else [module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("spatialavatar.")}
    return rooms - {"_native", "__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_rooms_before_it(path: Path) -> None:
    room = room_of(path)
    if not room:
        return  # the package itself offers things from every room, on demand
    assert room in ROOMS, f"{room} has no place in the house yet: add it to ROOMS and to CONTRIBUTING.md"
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert imported_rooms(path) <= allowed, f"{room} may not import {sorted(imported_rooms(path) - allowed)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
