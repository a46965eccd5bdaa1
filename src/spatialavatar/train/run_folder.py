"""A run's folder and everything in it but the checkpoint's contents.

RUN/
    config.json                the whole configuration
    record.json                data, versions, start, what was missing, how long it took
    losses.jsonl               one line for every `log_every` steps: means of the terms, norm, rate
    scores.jsonl               one line for every validation
    checkpoint.safetensors     the state to resume from
    best.safetensors           the generator that scored best on the held-out set so far
    generator.safetensors      the generator at the end
    anchor.safetensors         Phase 2: the weights it started from
    previews/000500.png        source, target, rendering
    tensorboard/               the same for TensorBoard, where it is installed
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.files import only_one_makes, write_atomically, write_json
from spatialavatar.input_files import read_json
from spatialavatar.unfinished import tidy

CONFIG, RECORD, LOSSES, SCORES = "config.json", "record.json", "losses.jsonl", "scores.jsonl"
CHECKPOINT, BEST, GENERATOR, ANCHOR = (
    "checkpoint.safetensors",
    "best.safetensors",
    "generator.safetensors",
    "anchor.safetensors",
)


class RunFolder:
    """Names, lines and pictures of one run."""

    def __init__(self, path: Path):
        self.path = path
        self._board: Any = None

    def create(self) -> None:
        """Make the folder for a new run.

        Raises:
            UserError: A run is in it already, or it cannot be made.
        """
        if (self.path / CONFIG).exists():
            raise UserError(
                "a run is in this folder already.",
                where=self.path,
                hint=f"Go on with it by `spatialavatar train resume {self.path}`, or choose another folder.",
            )
        self._make(self.path / "previews")

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"this folder cannot be made ({error.strerror}).", where=self.path) from None

    @contextlib.contextmanager
    def for_this_run_alone(self) -> Iterator[None]:
        """Hold the folder while a run is in it, and remove what a killed one left half-written.

        Raises:
            UserError: Another process trains in it.
        """
        self._make(self.path.parent)
        with only_one_makes(self.path):
            tidy(self.path.parent)
            tidy(self.path, deep=True)
            yield

    def file(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> dict[str, Any]:
        """One of the JSON files.

        Raises:
            UserError: It is missing or no JSON object.
        """
        if not self.path.is_dir():
            raise UserError("there is no run in this folder.", where=self.path)
        value = read_json(self.file(name))
        if not isinstance(value, dict):
            raise UserError("this file is not a JSON object.", where=self.file(name))
        return value

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        write_json(self.file(name), value)

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """One more line of a .jsonl file."""
        with self.file(name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """All whole lines of a .jsonl file; one cut off by a crash is left out."""
        if not self.file(name).exists():
            return []
        found = []
        for text in self.file(name).read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(text))
            except json.JSONDecodeError:
                continue
        return found

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that are about to be done again."""
        for name in (LOSSES, SCORES):
            kept = [line for line in self.lines(name) if line["step"] <= step]
            with write_atomically(self.file(name)) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    # ------------------------------------------------------------------ pictures and TensorBoard

    def open_board(self, step: int) -> bool:
        """Start writing for TensorBoard from this step on; False where it is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return False
        self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
        return True

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None

    def numbers(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Scalars for TensorBoard."""
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, step)

    def picture(self, sheet: Tensor, step: int) -> None:
        """A preview sheet (H, W, 3) in [0, 1], as a file and for TensorBoard."""
        pixels = (sheet.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        with write_atomically(self.path / "previews" / f"{step:06d}.png") as temporary:
            Image.fromarray(pixels.numpy()).save(temporary)
        if self._board is not None:
            self._board.add_image("preview", pixels, step, dataformats="HWC")


def sheet(rows: list[list[Tensor]]) -> Tensor:
    """Pictures (3, h, w) of any sizes in rows -> (H, W, 3); each is fitted into a cell as large as the largest."""
    height = max(picture.shape[1] for row in rows for picture in row)
    width = max(picture.shape[2] for row in rows for picture in row)
    columns = max(len(row) for row in rows)
    canvas = torch.ones(3, height * len(rows), width * columns)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            factor = min(height / picture.shape[1], width / picture.shape[2])
            size = (max(1, int(picture.shape[1] * factor)), max(1, int(picture.shape[2] * factor)))
            fitted = torch.nn.functional.interpolate(picture[None].cpu().float(), size, mode="bilinear", antialias=True)
            canvas[:, i * height : i * height + size[0], j * width : j * width + size[1]] = fitted[0]
    return canvas.permute(1, 2, 0)
