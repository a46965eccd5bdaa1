"""The layers of the package: which imports from which, no circles, and no file that is too long to read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

SOURCE = Path(__file__).parents[1] / "src" / "spatialavatar"
LAYERS = (
    # Shared by all.
    *("errors", "text", "interrupts", "locks", "unfinished", "files", "input_files", "products", "progress"),
    *("random_streams", "memory", "versions"),
    *("head", "splat", "avatar", "sequence", "drive", "export", "track", "prepare"),
    *("generate", "refine", "synth", "train", "evaluate", "view", "create", "bench", "cli"),
)
"""Packages and modules, each of which imports only from those before it."""

MOST_LINES = 400
"""As CONTRIBUTING.md says."""

TOO_LONG = {
    "evaluate/ablations/runner.py": 482,
    "evaluate/run.py": 456,
    "evaluate/score.py": 407,
    "refine/refinement.py": 452,
}
"""Files that were longer when the bound was set, with their lines then. They may only shrink; none may be added."""

CIRCLES = {
    frozenset({"avatar/avatar.py", "avatar/stream.py"}),
    frozenset(f"refine/{name}.py" for name in ("fused_step", "light_fit", "refinement", "run_state", "torch_step")),
}
"""Modules that lead back to each other by imports for types alone (`if TYPE_CHECKING`) or within a function. Sets of
them may only become smaller and fewer."""


@dataclass(frozen=True)
class Import:
    """A module that a file imports, and whether as soon as the file is (not for types alone, nor within a function)."""

    module: str
    at_once: bool


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@lru_cache(maxsize=1)
def files() -> tuple[Path, ...]:
    return tuple(sorted(SOURCE.rglob("*.py")))


def _puts_off(node: ast.AST) -> bool:
    """Whether what stands in it is not imported at once: a function, or `if TYPE_CHECKING:`."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _imports(node: ast.AST, at_once: bool = True) -> Iterator[Import]:
    """All imports below a node, wherever they stand."""
    at_once = at_once and not _puts_off(node)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative imports hide which layer is meant"
            for alias in child.names:
                yield Import(f"{child.module}.{alias.name}", at_once)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, at_once)
        yield from _imports(child, at_once)


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "spatialavatar" and len(parts) > 1 else ""


def file_of(module: str) -> Path | None:
    """The file that `from a.b import c` reads: c where that is a module, else b."""
    parts = module.split(".")
    if parts[0] != "spatialavatar":
        return None
    for end in (len(parts), len(parts) - 1):
        place = SOURCE.joinpath(*parts[1:end])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file() and place != SOURCE:
                return path
    return None


@lru_cache(maxsize=1)
def imports() -> dict[str, tuple[Import, ...]]:
    """What every file imports, by its name."""
    return {name_of(path): tuple(_imports(ast.parse(path.read_text("utf-8")))) for path in files()}


def circles(*, at_once: bool) -> set[frozenset[str]]:
    """Files that lead back to each other, by all imports or by those that are done at once."""
    names = sorted(imports())
    edges = np.zeros((len(names), len(names)), bool)
    for name, imported in imports().items():
        for item in imported:
            path = file_of(item.module)
            if path is not None and (item.at_once or not at_once) and name_of(path) != name:
                edges[names.index(name), names.index(name_of(path))] = True
    _, component = connected_components(edges, connection="strong")
    together = (frozenset(name for name, c in zip(names, component, strict=True) if c == k) for k in set(component))
    return {group for group in together if len(group) > 1}


def test_a_layer_imports_only_from_layers_before_it() -> None:
    wrong = []
    for name, imported in imports().items():
        layer = name.split("/")[0].removesuffix(".py")
        if name == "__init__.py":
            continue  # the package itself offers things from every layer, on demand
        assert layer in LAYERS, f"{layer} has no place yet: add it to LAYERS and to CONTRIBUTING.md"
        allowed = {"", "_native", "__version__", *LAYERS[: LAYERS.index(layer) + 1]}
        wrong += [f"{name}: {item.module}" for item in imported if layer_of(item.module) not in allowed]
    assert not wrong, "\n".join(wrong)


def test_no_module_needs_itself_to_be_imported() -> None:
    assert circles(at_once=True) == set()


def test_circles_of_other_imports_become_fewer() -> None:
    found = circles(at_once=False)
    new = [sorted(group) for group in found if not any(group <= known for known in CIRCLES)]
    assert not new, f"new circles: {new}"
    assert found == CIRCLES, (
        f"circles have become smaller, put these into CIRCLES: {[sorted(group) for group in found]}"
    )


def test_no_file_is_too_long() -> None:
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in files()}
    long = {name: count for name, count in lines.items() if count > TOO_LONG.get(name, MOST_LINES)}
    assert not long, f"longer than {MOST_LINES} lines, or than in TOO_LONG: {long}"
    short = [name for name in TOO_LONG if lines.get(name, 0) <= MOST_LINES]
    assert not short, f"short enough by now, take them out of TOO_LONG: {short}"
