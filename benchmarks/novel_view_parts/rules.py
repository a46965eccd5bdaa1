"""The rules of Stage 2 that can be left out, each by name, as changes to a run's settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from spatialavatar.errors import UserError
from spatialavatar.refine.config import RefineConfig

Change = Callable[[RefineConfig], RefineConfig]


def _without_tethers(config: RefineConfig) -> RefineConfig:
    free = replace(config.tethers, position=0.0, log_scale=0.0, opacity=0.0, color=0.0)
    return replace(config, tethers=free)


RULES: dict[str, Change] = {
    "neighbours": lambda config: replace(config, tethers=replace(config.tethers, neighbours=0.0)),
    "side-views": lambda config: replace(config, side_views=replace(config.side_views, every=0)),
    "evidence": lambda config: replace(config, hold_unseen=False),
    "hidden-colours": lambda config: replace(config, hidden_evidence=0.0),
    "tethers": _without_tethers,
    "own-aspect": lambda config: replace(config, anti_spike=replace(config.anti_spike, own_aspect_factor=0.0)),
    "light": lambda config: replace(config, light_at=()),
    "correctives": lambda config: replace(config, correctives=replace(config.correctives, components=0)),
    "slopes": lambda config: replace(config, glare=True),
    "inside": lambda config: replace(
        config, anti_spike=replace(config.anti_spike, maximum_inside=config.anti_spike.maximum_scale)
    ),
}
"""What leaves each rule out. `evidence` is `hold_unseen`: Gaussians that no frame shows take no gradient and follow
their neighbours in the end. `hidden-colours` draws hidden Gaussians in their own colours. `inside` lets what lies
inside the head grow as far as anything else."""


def without(config: RefineConfig, names: Sequence[str]) -> RefineConfig:
    """The settings with some rules left out.

    Raises:
        UserError: A name is unknown.
    """
    for name in names:
        if name not in RULES:
            raise UserError(f"there is no rule {name!r}.", hint=f"There are: {', '.join(RULES)}.")
        config = RULES[name](config)
    return config


def changes_nothing(config: RefineConfig, name: str) -> bool:
    """Whether these settings have the rule left out already: photos have no light, for example."""
    return without(config, [name]) == config
