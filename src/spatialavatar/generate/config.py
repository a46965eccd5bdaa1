"""Every choice of Stage 1's generator in one place, and the two presets that are made of them (§3.2, App. A.1)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from spatialavatar.errors import UserError
from spatialavatar.text import printable

EncoderName = Literal["compact", "dinov3-s", "dinov3-b", "dinov3-l", "dinov2-s", "dinov2-b", "dinov2-l"]
PoolName = Literal["mean", "visibility", "attention"]
ViewFrame = Literal["head", "world"]

LARGEST_WIDTH = 1024
"""Channels of any layer, those of the largest DINO."""
MOST_LEVELS = 8
"""Of the StyleUNet and of the compact encoder."""
_SIZES = ("image_size", "encoder_size", "layout_resolution", "canvas_resolution")
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_SIZES, (1, 2048)),
    **dict.fromkeys(
        ("feature_channels", "code_channels", "style_channels", "map_channels", "head_width", "unet_widths"),
        (1, LARGEST_WIDTH),
    ),
    **dict.fromkeys(("position_bound", "hair_bound", "scale_bound", "rim"), (0.0, 100.0)),
}
"""Of numbers: a file that says more would have memory reserved for it before its weights are looked at."""


@dataclass(frozen=True)
class GeneratorConfig:
    """What the generator is made of. Every row of the paper's ablations is one field.

    The defaults are the paper's, or, where it is silent, ours for its size of network.
    """

    encoder: EncoderName = "dinov3-b"
    """Picture to dense features and a global code: a frozen DINO with a trainable neck, or a small network of ours."""
    encoder_weights: str = ""
    """Folder or file with the encoder's weights in the hub's layout, or a name on the hub; empty: the usual name."""
    encoder_frozen: bool = True
    """Whether a DINO's own weights stay as they are (and out of checkpoints); the neck is always trained."""
    image_size: int = 512
    """Pixels along a side of the source pictures."""
    encoder_size: int = 512
    """Pixels along a side of what the encoder sees; colours are always sampled from `image_size`."""
    feature_channels: int = 256
    """Channels of the encoder's dense features, warped to the UV layout."""
    code_channels: int = 768
    """Length of the global code (DINO's CLS token)."""
    encoder_widths: tuple[int, ...] = ()
    """Of the compact encoder, from half the picture's size on; unused by the others."""
    pool: PoolName = "mean"
    """How K sources become one: plain mean (the paper's), mean weighted by visibility, or attention (Tab. 5 G)."""
    layout_resolution: int = 256
    """Pixels along a side of the UV layout that is generated."""
    canvas_resolution: int = 256
    """Pixels along a side on which the StyleUNet works; below the layout's its last layer lifts."""
    unet_widths: tuple[int, ...] = (32, 64, 128, 256, 256, 256)
    """Channels of the StyleUNet from the canvas' resolution downwards, halving each time."""
    unet_noise: bool = True
    """StyleGAN2's noise, fixed, with learned strengths that start at zero."""
    style_channels: int = 512
    """Length of the style that modulates the StyleUNet's convolutions."""
    map_channels: int = 32
    """Channels of the UV map that the heads read."""
    head_width: int = 64
    """Hidden channels of each of the five heads (1 x 1 convolutions)."""
    view_code: bool = True
    """Whether the heads see the target's view direction (Eq. 6)."""
    view_frame: ViewFrame = "head"
    """Whose frame the view direction is in: the head's, or the world's (see `view_direction`)."""
    visibility_channel: bool = False
    """Whether the network also sees how visible each UV pixel is in a source (ours)."""
    residual: bool = True
    """Whether the expression-conditioned residual head exists (Tab. 5 E)."""
    residual_width: int = 256
    """Hidden width of the residual head's MLP."""
    position_bound: float = 0.5
    """Furthest a Gaussian may lie from its place on the surface, in units of the triangle's scale."""
    hair_bound: float = 0.0
    """Furthest it may be moved outwards on the scalp beyond that, metres."""
    scale_bound: float = 3.0
    """Furthest a log-scale may lie from the pixel's own footprint."""
    cues: bool = False
    """Start from the texture start: the warped colours and the hair's shell are the base that heads correct, and the
    network sees the mirrored side, fills and a map of the surface."""
    rim: float = 0.0
    """Beside outlines, within this share of a picture's width, it is not believed; 0: but for one pixel it is."""
    masked: bool = False
    """Where something else lies in front in a source, its colour is not among those to choose from: the fill stands
    in its place."""
    shoulders: bool = False
    """Push shoulders out to the mattes, as hair is."""


PAPER = GeneratorConfig()
COMPACT = GeneratorConfig(
    encoder="compact",
    image_size=256,
    encoder_size=256,
    feature_channels=24,
    code_channels=128,
    encoder_widths=(16, 32, 64, 128, 256),
    pool="visibility",
    visibility_channel=True,
    canvas_resolution=128,
    unet_widths=(24, 48, 112, 192, 256),
    unet_noise=False,
    style_channels=128,
    head_width=8,
    residual_width=64,
    hair_bound=0.06,
    cues=True,
    rim=0.008,
    masked=True,
    shoulders=True,
)
PRESETS: dict[str, GeneratorConfig] = {"paper": PAPER, "compact": COMPACT}


_BEFORE_THERE_WAS_A_CHOICE: dict[str, Any] = {"view_frame": "world", "visibility_channel": True}
"""What files mean that do not have these settings."""


def same_network(config: GeneratorConfig, other: GeneratorConfig) -> bool:
    """Whether weights of one are weights of the other, too: `rim`, `masked` and `shoulders` change only what a network
    is given, and training goes on from one to the other."""
    return replace(config, rim=other.rim, masked=other.masked, shoulders=other.shoulders) == other


def check_config(config: GeneratorConfig) -> None:
    """Raises UserError for a choice that does not exist or does not fit the others."""
    choices_of = {"encoder": EncoderName, "pool": PoolName, "view_frame": ViewFrame}
    for name, choices in ((name, get_args(kind)) for name, kind in choices_of.items()):
        if getattr(config, name) not in choices:
            raise UserError(f"there is no {name} '{getattr(config, name)}'; there are {', '.join(choices)}.")
    for item in fields(config):
        value = getattr(config, item.name)
        lowest, highest = _RANGES.get(item.name, (0, LARGEST_WIDTH))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                continue
            if not lowest <= number <= highest:
                raise UserError(f"the generator's setting '{item.name}' is {number}; expected {lowest} to {highest}.")
    if not 1 <= len(config.unet_widths) <= MOST_LEVELS or len(config.encoder_widths) > MOST_LEVELS:
        raise UserError(f"the networks of this generator have more than {MOST_LEVELS} levels, or none.")
    lift = config.layout_resolution // config.canvas_resolution
    if lift * config.canvas_resolution != config.layout_resolution:
        raise UserError(
            f"a canvas of {config.canvas_resolution} does not divide the layout's {config.layout_resolution} pixels."
        )
    if config.canvas_resolution % (1 << (len(config.unet_widths) - 1)):
        raise UserError(f"a canvas of {config.canvas_resolution} cannot be halved {len(config.unet_widths) - 1} times.")


def config_as_dict(config: GeneratorConfig) -> dict[str, Any]:
    """Plain JSON values."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def config_from_dict(values: dict[str, Any], where: Any = None) -> GeneratorConfig:
    """The inverse of `config_as_dict`.

    Raises:
        UserError: A key is unknown, or its value is of another kind.
    """
    values = {**_BEFORE_THERE_WAS_A_CHOICE, **values}
    known = {item.name: getattr(PAPER, item.name) for item in fields(GeneratorConfig)}
    for key, value in values.items():
        if key not in known:
            raise UserError(
                f"the generator's setting '{key}' is not known here.",
                where=where,
                hint="The file was made by another version of SpatialAvatar.",
            )
        if not _is_like(value, known[key]):
            raise UserError(f"the generator's setting '{key}' is {printable(repr(value), 60)}.", where=where)
    chosen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    config = replace(PAPER, **chosen)
    try:
        check_config(config)
    except UserError as error:
        raise UserError(error.what, where=where) from None
    return config


def _is_like(value: object, known: object) -> bool:
    """Whether a value out of JSON is of the kind of a setting."""
    if isinstance(known, tuple):
        return isinstance(value, list) and all(_is_like(entry, 1) for entry in value)
    if isinstance(known, bool) or isinstance(value, bool):
        return isinstance(known, bool) and isinstance(value, bool)
    return isinstance(value, (int, float) if isinstance(known, float) else type(known))
