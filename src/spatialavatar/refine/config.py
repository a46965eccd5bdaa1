"""Every number of Stage 2 in one place (§3.3, App. A.4); where the paper is silent, the field says so with "ours"."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

HoldOut = Literal["none", "tail", "blocks"]
RATES = ("position", "rotation", "log_scale", "opacity", "color")
"""The learning rates' names, in the order of the attributes."""


@dataclass(frozen=True)
class LearningRates:
    """Adam's step per attribute, in triangle-local units (ours).

    About GaussianAvatars' for bound Gaussians, a fifth smaller for position, log-scale and opacity: what one camera
    cannot see, depth and the size along it, wanders for as long as the run lasts, and shows at 45 degrees.
    """

    position: float = 4e-3
    rotation: float = 1e-3
    log_scale: float = 1.4e-2
    opacity: float = 4e-2
    color: float = 2.5e-3
    epsilons: tuple[float, float, float, float, float] = (3e-7, 1e-7, 1e-8, 1e-8, 5e-7)
    """Adam's epsilon for position, rotation, log-scale, opacity and colour (ours), a tenth to a third of the gradients
    of Gaussians in plain sight. Adam divides by the gradient's own size: with GaussianAvatars' 1e-15 a Gaussian that
    contributes a thousandth of a pixel drifts as fast as one they insist on, and the sides of the head turn to
    speckle. Shapes need no such care: clamp and L_aspect hold them."""
    final_fraction: float = 0.01
    """All rates follow one cosine from their value to this fraction of it (ours)."""


@dataclass(frozen=True)
class AntiSpike:
    """The three parts that stand in for densification (§3.3, Tab. 9). Each can be switched off for the ablation."""

    freeze_iterations: int = 500
    """Log-scales do not move before this iteration; 0 switches the freeze off."""
    aspect_after: int = 500
    """L_aspect is applied from this iteration on (Eq. 5), whether or not log-scales were frozen before."""
    clamp: bool = True
    """Clamp log-scales after every step."""
    minimum_scale: float = 0.1
    """Smallest scale, as a fraction of the pixel's own footprint in its triangle (ours)."""
    maximum_scale: float = 10.0
    """Largest scale, as a multiple of that footprint (ours)."""
    maximum_inside: float = 2.5
    """The same for what lies inside the head (ours): behind the lips' skin a tongue of five centimetres costs nothing,
    until somebody looks from aside."""
    spread: float = 3.0
    """Bound on max - min of a Gaussian's three log-scales (ours: e^3 = 20.1, the paper's "about 20")."""
    aspect_weight: float = 0.5
    """Weight of L_aspect (Eq. 5); 0 switches it off."""
    aspect_threshold: float = math.log(4.0)
    """tau of Eq. 4 (ours)."""
    own_aspect_threshold: float = math.log(7.5)
    """tau of the same loss on each Gaussian's own three axes, as nobody but the side sees them (ours)."""
    own_aspect_factor: float = 10.0
    """Weight of that one, in units of `aspect_weight` (ours). Both are means over all Gaussians: with the factor 1 the
    few that the pictures pull hardest, at a collar or a strand of hair, stretch to the clamp's bound all the same."""


@dataclass(frozen=True)
class Tethers:
    """Weak pulls, added to the gradients, that only tell where the pictures do not (ours).

    A tenth or less of what the pictures say of Gaussians in plain sight; but pictures from one side say nothing of
    depth, and a skin of half transparent layers looks right only from where it was learned.
    """

    position: float = 1e-6
    """Towards the start, per triangle unit away from it."""
    log_scale: float = 2e-8
    """Towards the start, per unit away from it."""
    opacity: float = 2e-9
    """Towards opaque, the same for all."""
    color: float = 1e-6
    """Towards the start, per unit away from it."""
    neighbours: float = 3e-5
    """Towards where the neighbours on the surface have gone, per triangle unit beside them, times `narrowness`. Skin
    that slides along the camera's rays, each Gaussian by itself, tears into scales: from the side one looks between."""


@dataclass(frozen=True)
class SideViews:
    """How often and how much the start is asked for what no frame shows (ours, see `refine.side_views`)."""

    every: int = 8
    """Iterations from one to the next; 0: never."""
    weight: float = 4.0
    """Of the mean absolute difference, in units of Eq. 5's loss, times the square root of `narrowness`: sides that no
    frame shows stay unseen, however far the head turns to the others."""
    least_degrees: float = 15.0
    """The head is seen from at least so much further to one side than nineteen in twenty of the frames see it..."""
    most_degrees: float = 65.0
    """...and from at most so far aside. A video that goes round the head has no such views."""
    size: float = 0.5
    """Size of these pictures as a share of the frames'."""
    coarse: int = 2
    """Pixels, along a side, that are averaged before pictures are compared."""


@dataclass(frozen=True)
class Correctives:
    """What an expression changes beyond the head model, learned beside the Gaussians (ours, see `correctives`)."""

    components: int = 15
    """Directions in which the video's expressions differ most that have maps of their own; 0: no correctives."""
    frames_each: int = 20
    """Training frames that it takes for one of them: a dozen pictures have a dozen expressions, each with a place and a
    light of its own, and say nothing of what follows from what."""
    resolution: int = 64
    """Of their UV maps."""
    after: float = 0.8
    """Share of the run from which on they are learned, and at which the other rates have come to their end. First what
    all frames have in common, then what differs: of both together neither holds for expressions that were not filmed.
    0: together all along."""
    rate: float = 2e-3
    """Adam's rate for shifts, in units of a usual triangle for a component of one standard deviation; follows a cosine
    of its own."""
    color_unit: float = 0.67
    """Changes of colour learn so much more slowly."""
    epsilon: float = 3e-7
    """Adam's epsilon, as for positions."""


@dataclass(frozen=True)
class RefineConfig:
    """Stage 2: photometric refinement on the subject's own frames."""

    iterations: int = 10_000
    """Length of the run; the cosine ends here."""
    l1_weight: float = 0.8
    """Weight of L1 in Eq. 5 (ours)."""
    ssim_weight: float = 0.2
    """Weight of 1 - SSIM (window 11) in Eq. 5 (ours)."""
    seed: int = 0
    """Seeds the frame order and the random backgrounds."""
    hold_out: HoldOut = "none"
    """Frames kept from training and scored: the last ones, or the last 10 of every 50."""
    random_background: bool = True
    """Both sides over one fresh random colour per iteration (Eq. 13); otherwise white."""
    learning_rates: LearningRates = field(default_factory=LearningRates)
    anti_spike: AntiSpike = field(default_factory=AntiSpike)
    tethers: Tethers = field(default_factory=Tethers)
    side_views: SideViews = field(default_factory=SideViews)
    usual_turn_degrees: float | None = 4.0
    """A head that turns by this to both sides (standard deviation of its yaw) has a `narrowness` of 1/2, one that does
    not turn at all of 1, one that turns by three times this of 1/10: the more it turns, the more its pictures say of
    depth, and the less has to be held (ours). None: 1 for everybody."""
    hold_unseen: bool = True
    """Gaussians that no training frame sees follow their neighbours on the surface (ours, see `unseen`)."""
    least_evidence: float = 0.06
    """Share of a Gaussian that its best frames show (1: it lies bare before the camera), below which it counts as
    unseen."""
    hidden_evidence: float = 0.02
    """Share below which a Gaussian is drawn in the background's random colour while training (ours): a forehead that
    is half transparent, and made up for by what lies behind it, is then as wrong in the frames as it is from aside."""
    full_evidence: float = 0.3
    """Share from which on a Gaussian's colour stands on its own evidence alone."""
    half_size_until: float = 0.0
    """Share of the run in which frames are drawn and compared at half their size (ours, see `half_size`)."""
    body_outline: bool = True
    """Fit the matte's outline below the chin too. Off for photos, whose clothes no head model can follow."""
    glare: bool = True
    """Learn what is much brighter than the start on slopes of the face, too. Off for photos, in which that is a collar
    past the jaw or a rim of light (ours, see `slopes`)."""
    light_at: tuple[float, ...] = (0.0, 0.05, 0.25, 0.5)
    """Shares of the run after which the light is solved for (ours, see `light_fit`). Empty: it stays as the avatar has
    it. Photos tell no light: who bows in none does not darken."""
    correctives: Correctives = field(default_factory=Correctives)
    """Photos have none: a few expressions tell nothing of the others."""
    refine_motion: bool = False
    """Motion and focal length of the training frames move with the Gaussians (ours, see `moving_motion`)."""
    motion_rate: float = 0.02
    """Adam's rate for them, in units of about how far each moves in a fit; follows the cosine too."""
    motion_after: int = 500
    """Iterations before they move: until then the Gaussians' errors are larger than the tracking's."""
    minutes: float | None = None
    """Stop after this long, with the cosine fitted to it; `iterations` stays the upper bound."""
    until_plateau: bool = False
    """Stop when the smoothed training loss has stopped falling (checked every 500 iterations)."""
    checkpoint_every: int = 1_000
    """Iterations between checkpoints, from which `--resume` goes on to the same numbers."""
    preview_seconds: float = 10.0
    """Seconds between preview pictures."""


def suited_to(kind: Literal["video", "photos"], config: RefineConfig, quick: bool = False) -> RefineConfig:
    """`config` as it fits its input: what a short run needs, and for photos a careful one (ours).

    A short run on a video has an earlier end of the freeze and larger steps of the shape, up to a quarter: the way that
    a Gaussian can go in a run is what matters, towards where it belongs as well as away from it. A quick one takes the
    first half of its steps at half size and makes all steps up to twice as large, those of colours three times: what it
    gains it needs, and many small Gaussians bear it better, from aside, than the few of a coarse avatar. And it
    solves for the light half as often.

    A few pictures say little about what they do not show: enough steps to meet the outline and sharpen the colours,
    with shapes free only in the second half; if there are fewer than 300, each is as many times longer. And what is
    seen at a slant in one picture is seen from the front in no other: it keeps the start's shape, and the start is
    asked for its sides four times as often, unless there is no time for it.
    """
    spike, rates = config.anti_spike, config.learning_rates
    if kind == "video":
        freeze = min(spike.freeze_iterations, config.iterations // 5)
        aspect_after = min(spike.aspect_after, config.iterations // 5)
        larger = min(2.0 if quick else 1.25, max(1.0, 10_000 / config.iterations))
        factors = {"position": larger, "log_scale": larger, "opacity": larger}
        if quick:
            factors |= {"rotation": larger, "color": 2 * larger - 1}
        rates = replace(rates, **{name: factor * getattr(rates, name) for name, factor in factors.items()})
        half = 0.5 if quick else config.half_size_until
        light_at = (0.05, 0.5) if quick and config.light_at else config.light_at
        spike = replace(spike, freeze_iterations=freeze, aspect_after=aspect_after)
        config = replace(config, half_size_until=half, light_at=light_at)
        return replace(config, learning_rates=rates, anti_spike=spike)
    hurry = max(1.0, 300 / config.iterations)
    sides = config.side_views
    if sides.every and hurry == 1.0:
        sides = replace(sides, every=2, weight=2.0)
    else:
        sides = replace(sides, weight=1.0, coarse=4)
    shapes = {"position": 0.5, "log_scale": 1.25, "opacity": 1.25}
    rates = replace(rates, **{name: factor * getattr(rates, name) for name, factor in shapes.items()})
    rates = replace(rates, **{name: hurry * getattr(rates, name) for name in RATES})
    return replace(
        config,
        # One picture says nothing of what is thinner than its pixels: closer up, such needles are wrinkles.
        anti_spike=replace(
            spike,
            freeze_iterations=config.iterations // 2,
            aspect_after=config.iterations // 2,
            spread=2.0,
            minimum_scale=0.4,
        ),
        learning_rates=rates,
        side_views=sides,
        tethers=replace(config.tethers, neighbours=0.0),
        usual_turn_degrees=None,
        least_evidence=0.12,
        full_evidence=0.5,
        # In a few hundred steps on one picture, random colours do not average out.
        hidden_evidence=0.0,
        body_outline=False,
        glare=False,
        light_at=(),
        correctives=replace(config.correctives, components=0),
    )


def default_iterations(kind: Literal["video", "photos"], fast: bool = False, quick: bool = False) -> int:
    """The paper's 10,000 for a video; otherwise what measurements and a look at the pictures asked for (ours).

    Args:
        fast: A coarse avatar, soon.
        quick: Nearly the picture of the whole run in a third of its time; of photos that is the whole run.
    """
    if kind == "video":
        return 2_500 if fast else 3_700 if quick else 10_000
    return 60 if fast else 600
