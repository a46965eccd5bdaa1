"""Every row of the paper's Tables 5 to 9: what it changes, and what it needs to be run (§4.4, App. B).

Settings are named by their path in the tree of settings: of training (`train.config.TrainConfig`) for Tables 5 to 8, of
refinement (`refine.config.RefineConfig`) for Table 9. Rows have the names of `paper.json`, so that the printed figure
stands beside the measured one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Times:
    """A factor on what the recipe has: learning rates of another batch size do not compare as numbers."""

    factor: float


Settings = Mapping[str, Any]
Ends = Literal["phase 1", "phase 2", "refinement"]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: The paper's, as `paper.json` has it.
        ends: What is scored: the generator after its first or second phase, or the avatars refined after that.
        both: Changes of both phases.
        first, second: Changes of one.
        refine: Changes of the refinement.
        sources: K.
        may_end_earlier: Whether the row says something after Phase 1 too, where there is no data for Phase 2.
        weights: What cannot be shipped and must be at hand.
    """

    name: str
    ends: Ends = "phase 2"
    both: Settings = field(default_factory=dict)
    first: Settings = field(default_factory=dict)
    second: Settings = field(default_factory=dict)
    refine: Settings = field(default_factory=dict)
    sources: int = 4
    may_end_earlier: bool = False
    weights: str | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """All changes, for people; factors as text."""
        told: dict[str, Any] = {}
        for where, settings in (
            ("", self.both),
            ("phase 1: ", self.first),
            ("phase 2: ", self.second),
            ("", self.refine),
        ):
            for key, value in settings.items():
                told[where + key] = f"x {value.factor:g}" if isinstance(value, Times) else value
        return told


@dataclass(frozen=True)
class AblationTable:
    """One table.

    Attributes:
        number: The paper's.
        title: For people.
        printed: Its names in `paper.json`.
        rows: In the paper's order.
    """

    number: int
    title: str
    printed: tuple[str, ...]
    rows: tuple[Row, ...]


_RATE, _SHAPE, _DECAY = "optimiser.learning_rate", "optimiser.schedule.shape", "optimiser.layer_decay"
_JACOBIAN, _ANCHOR, _CROSS_TIME = "loss.jacobian", "optimiser.anchor", "draw.cross_time"
_BARE: Settings = {_ANCHOR: 0.0, _CROSS_TIME: 0.0}


def _backbone(name: str, encoder: str, channels: int) -> Row:
    return Row(
        name,
        both={"generator.encoder": encoder, "generator.code_channels": channels},
        may_end_earlier=True,
        weights=encoder,
    )


TABLES: dict[int, AblationTable] = {
    5: AblationTable(
        5,
        "Stages",
        ("stages",),
        (
            Row("A: Phase 1", "phase 1"),
            Row("B: + Phase 2, bare", second=_BARE),
            Row("C: + L2-SP and cross-time"),
            Row("D: + refinement", "refinement"),
            Row("E: D without the residual head", "refinement", both={"generator.residual": False}),
            Row("F: D without the Jacobian penalty", "refinement", both={_JACOBIAN: 0.0}),
            Row("G: D with attention pooling", "refinement", both={"generator.pool": "attention"}),
        ),
    ),
    6: AblationTable(
        6,
        "Number of sources, and the encoder",
        ("sources", "backbones"),
        (
            *(Row(f"K = {count}", sources=count, may_end_earlier=True) for count in (1, 2, 3, 4)),
            _backbone("DINOv3 S", "dinov3-s", 384),
            _backbone("DINOv3 B", "dinov3-b", 768),
            _backbone("DINOv3 L", "dinov3-l", 1024),
        ),
    ),
    7: AblationTable(
        7,
        "Phase 1: schedule, rate, layer decay, Jacobian penalty",
        ("phase1",),
        (
            *(Row(shape, "phase 1", first={_SHAPE: shape}) for shape in ("linear", "cosine", "constant")),
            Row("lr 1e-4", "phase 1", first={_RATE: Times(0.4)}),
            Row("lr 2.5e-4", "phase 1", first={_RATE: Times(1.0)}),
            Row("lr 5e-4", "phase 1", first={_RATE: Times(2.0)}),
            *(Row(f"layer decay {value:g}", second={_DECAY: value}) for value in (0.5, 0.65, 0.8)),
            *(Row(f"Jacobian {value:g}", both={_JACOBIAN: value}, may_end_earlier=True) for value in (0.0, 0.1, 1.0)),
        ),
    ),
    8: AblationTable(
        8,
        "Against forgetting",
        ("forgetting",),
        (
            Row("neither", second=_BARE),
            Row("L2-SP alone", second={_CROSS_TIME: 0.0}),
            Row("cross-time alone", second={_ANCHOR: 0.0}),
            Row("both"),
            Row("L2-SP 1e-2", second={_ANCHOR: 1e-2}),
            Row("L2-SP 1e-4", second={_ANCHOR: 1e-4}),
        ),
    ),
    9: AblationTable(
        9,
        "Against spikes",
        ("anti_spike",),
        (
            Row("all", "refinement"),
            Row("no scale-freeze", "refinement", refine={"anti_spike.freeze_iterations": 0}),
            Row("no clamp", "refinement", refine={"anti_spike.clamp": False}),
            Row("no L_aspect", "refinement", refine={"anti_spike.aspect_weight": 0.0}),
        ),
    ),
}


def changed(config: T, settings: Settings) -> T:
    """A tree of frozen dataclasses with some of its leaves changed.

    Raises:
        KeyError: There is no such setting.
    """
    for path, value in settings.items():
        config = _changed(config, path.split("."), value)
    return config


def _changed(config: Any, path: list[str], value: Any) -> Any:
    name = path[0]
    if not is_dataclass(config) or name not in {item.name for item in fields(config)}:
        raise KeyError(f"{type(config).__name__} has no setting {name!r}")
    present = getattr(config, name)
    if len(path) > 1:
        return replace(config, **{name: _changed(present, path[1:], value)})  # type: ignore[type-var]
    return replace(config, **{name: present * value.factor if isinstance(value, Times) else value})  # type: ignore[type-var]
