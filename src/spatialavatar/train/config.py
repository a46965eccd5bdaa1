"""Every number of Stage 1's training in one tree (§3.2, §4.2, App. A.2); where the paper is silent, it says "ours".

The defaults are the paper's Phase 1; `phase2()` changes what Phase 2 changes; `recipes` holds those of the shipped
model. The tree is written beside every checkpoint and is the command line's options.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from spatialavatar.errors import UserError
from spatialavatar.generate.config import PAPER, GeneratorConfig

Phase = Literal["monocular", "multiview"]


@dataclass(frozen=True)
class LossConfig:
    """Weights of Eq. 2; 0 switches a term off and its computation too."""

    l1: float = 100.0
    """Mean absolute error over the whole image."""
    ms_ssim: float = 100.0
    """1 - MS-SSIM, with `sigmas`."""
    lpips: float = 100.0
    """LPIPS with AlexNet."""
    require_lpips: bool = True
    """Whether a training with a weight for LPIPS stops where its networks are missing, or goes on without."""
    box: float = 100.0
    """L1 inside the dilated face box."""
    tv_of: Literal["local", "offsets"] = "local"
    """Total variation of local positions and log-scales, as the paper has it, or of their offsets from the base
    geometry (ours): the base changes from triangle to triangle, and is not the network's to smooth."""
    tv_position: float = 1e-2
    """Total variation of local position over the UV grid."""
    tv_log_scale: float = 1e-2
    """Total variation of local log-scale over the UV grid."""
    jacobian: float = 0.1
    """The view-invariance penalty of Eq. 3 and 11."""
    shrinkage: float = 0.0
    """L1 norms of the residual head's four outputs; 1e-2 in Phase 2."""
    box_dilation: float = 1.65
    """The face box is widened by this factor about its centre."""
    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """Standard deviations of MS-SSIM's windows, pixels."""


@dataclass(frozen=True)
class DrawConfig:
    """What one training item is made of."""

    phase: Phase = "monocular"
    """"monocular": K + 1 frames of one clip. "multiview": K + 1 cameras at one instant, or K + 1 instants."""
    least_sources: int = 1
    most_sources: int = 4
    """K is uniform in least..most, one K per step."""
    difficulty: bool = True
    """The first source by a softmax over its dissimilarity to the target; off: uniform, like the others."""
    camera_weight: float = 1.0
    """Weight of the angle (radians) between the directions from which the head is seen (ours)."""
    expression_weight: float = 1.0
    """Weight of the Euclidean distance between expressions and jaws (ours)."""
    temperature_start: float = 2.0
    temperature_end: float = 0.5
    """The softmax's temperature falls linearly from start to end..."""
    annealed: float = 0.25
    """...over this first share of the training, and stays."""
    targets: int = 1
    """Pictures rendered and compared per item, for one encoding of its sources; more than the paper's one are worth
    it where encoding costs more than rendering (ours)."""
    cross_time: float = 0.25
    """Phase 2: share of items across time instead of across cameras; at K = 1 these stay on one camera."""
    rehearsal: float | None = None
    """Phase 2: share of items of people who are seen by one camera only, so that what Phase 1 learnt is practised while
    depth is learnt from the others (ours); None: every person is as likely as every other."""


@dataclass(frozen=True)
class ImageConfig:
    """Pictures that training sees."""

    size: int = 512
    """Targets are compared at this size (pixels along the longer side)."""
    oversampling: tuple[int, ...] = (1,)
    """Each target is rendered at one of these multiples of its size, drawn anew, and averaged down to it, so that
    Gaussians learn to cover the surface when drawn larger than training's pictures are (ours)."""
    background: Literal["random", "white", "black"] = "random"
    """What both sides lie over: one fresh colour per item (ours, as Eq. 13 does it in Stage 2), or always the same."""
    color_augmentation: float = 0.0
    """Strength of a random exposure, gamma and white balance, the same on all pictures of an item (ours); 0: none."""
    source_shift: float = 0.0
    """Standard deviation of a random shift of the points projected into the sources, as a share of the picture's size:
    trackers of real videos are off by a little, made data is not (ours)."""
    source_matte: float = 0.0
    """Standard deviation of how far the sources' mattes are moved outwards or inwards, as a share of the picture's
    size: those of real pictures let some background in, or cut some hair off; made ones are exact (ours)."""


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the steps, as a factor on its base (Tab. 7)."""

    shape: Literal["linear", "cosine", "constant"] = "linear"
    final: float = 0.1
    """Factor at the end of the fall."""
    fall_steps: int | None = 160_000
    """"linear": steps of the fall, constant after it; None: all of them."""
    warm_up_steps: int = 0
    """First steps, over which the factor rises linearly from 0."""


@dataclass(frozen=True)
class OptimiserConfig:
    """How parameters move."""

    kind: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 2.5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay of the mean gradient and of its square."""
    weight_decay: float = 0.0
    """AdamW's; Adam ignores it (ours)."""
    clip_norm: float = 5.0
    """Largest norm of the whole gradient; 0: none."""
    layer_decay: float = 1.0
    """Factor on the encoder's rate for each layer further from its output; 1: none. Other parts keep the base rate."""
    equalised: tuple[str, ...] = ("unet",)
    """Parts whose weights move at the rate over the root of their fan-in: StyleGAN2's equalised learning rate, which
    belongs to its blocks; without it Adam moves wide layers too fast, and each amplifies the next (ours)."""
    anchor: float = 0.0
    """L2-SP: weight of half the squared distance to the weights Phase 2 starts from."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    average: float = 0.0
    """Decay of a running mean of the weights, which is what is kept and scored (ours); 0: the weights themselves."""


@dataclass(frozen=True)
class TrainConfig:
    """Stage 1's training, one phase of it."""

    generator: GeneratorConfig = PAPER
    loss: LossConfig = field(default_factory=LossConfig)
    draw: DrawConfig = field(default_factory=DrawConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    steps: int = 200_000
    batch: int = 48
    """Items per step, over all processes together."""
    micro_batch: int = 0
    """Items computed at once, to fit memory; gradients are those of the whole batch. 0: all of a process's items."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """"bf16": the network in bfloat16 where the device gains by it (not on a CPU); rendering stays float32."""
    seed: int = 0
    """Start weights, draws, backgrounds and probes all follow from it."""
    layout_resolution: int = 256
    """Pixels along a side of the UV layout."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    validate_every: int = 2_000
    """Steps between scores on the held-out set, if one is given."""
    preview_every: int = 500
    """Steps between preview sheets."""
    log_every: int = 10
    """Steps that one line of losses.jsonl is the mean of."""
    workers: int = 0
    """Processes that prepare items ahead; 0: the training process itself."""


def phase1() -> TrainConfig:
    """The paper's Phase 1, monocular-temporal (§3.2, §4.2)."""
    return TrainConfig()


def phase2() -> TrainConfig:
    """The paper's Phase 2, multi-view-spatial (§3.2, App. A.2). Its length is ours."""
    base = TrainConfig()
    return replace(
        base,
        loss=replace(base.loss, shrinkage=1e-2),
        draw=replace(base.draw, phase="multiview"),
        optimiser=OptimiserConfig(
            kind="adamw",
            learning_rate=1e-4,
            layer_decay=0.65,
            anchor=1e-3,
            schedule=ScheduleConfig(shape="cosine", final=0.0, fall_steps=None, warm_up_steps=500),
        ),
        steps=20_000,
        batch=12,
        precision="bf16",
    )


def as_json(config: TrainConfig) -> dict[str, Any]:
    """The tree as JSON knows it."""
    return dict(json.loads(json.dumps(asdict(config))))


def from_json(tree: Any, where: Path | None = None) -> TrainConfig:
    """The inverse of `as_json`.

    Raises:
        UserError: A key is missing or unknown, as in a file of another version; or a value is of another kind.
    """
    return cast(TrainConfig, _filled(TrainConfig, tree, "config", where))


def _filled(kind: Any, tree: Any, name: str, where: Path | None) -> Any:
    hint = "The file was made by another version of SpatialAvatar, or was changed by hand."
    if not isinstance(tree, dict):
        raise UserError(f"'{name}' is not a group of settings.", where=where, hint=hint)
    known = {item.name for item in fields(kind)}
    for key in sorted(known ^ set(tree)):
        what = "is missing" if key in known else "is not known here"
        raise UserError(f"the setting '{name}.{key}' {what}.", where=where, hint=hint)
    values: dict[str, Any] = {}
    defaults = kind()
    for key, value in tree.items():
        default = getattr(defaults, key)
        if is_dataclass(default):
            values[key] = _filled(type(default), value, f"{name}.{key}", where)
            continue
        # None stands for "no limit" in some whole numbers, and JSON writes a round float as it likes.
        real = isinstance(default, float) or default is None
        expected: Any = list if isinstance(default, tuple) else (int, float) if real else None
        optional = isinstance(default, int) or default is None
        if not (value is None and optional) and not isinstance(value, expected or (type(default), int)):
            raise UserError(f"the setting '{name}.{key}' is {value!r}.", where=where, hint=hint)
        values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def digest(config: TrainConfig) -> str:
    """12 hex digits that differ when the numbers of a run would: how often it logs or saves does not count."""
    tree = as_json(config)
    for key in ("checkpoint_every", "validate_every", "preview_every", "log_every", "workers"):
        tree.pop(key)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]
