"""Stage 2: refine an avatar on its subject's tracked frames, from the first iteration to the report (§3.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.interrupts import Stopped, stops_held
from spatialavatar.refine.anti_spike import aspect_figures
from spatialavatar.refine.config import RefineConfig
from spatialavatar.refine.held_out import Score, draw, over_white, score
from spatialavatar.refine.moving_motion import fit_frames
from spatialavatar.refine.refinement import Refinement
from spatialavatar.refine.run_state import load_run, save_run
from spatialavatar.refine.schedule import fraction_after
from spatialavatar.sequence.sequence import TrackedSequence


@dataclass(frozen=True)
class IterationState:
    """What a progress bar wants to know after an iteration. `loss` is smoothed over about 50 iterations."""

    iteration: int
    total: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class RefineResult:
    """What came of a run.

    Attributes:
        avatar: Refined.
        start, held_out: Scores of the held-out frames before and after, as tracked; None without hold-out.
        held_out_fitted: The same after, each frame's motion fitted to it first; None without `refine_motion`.
        sequence: The frames with the motion they have now: corrected with `refine_motion`, else as given.
        report: All of it in figures.
    """

    avatar: Avatar
    start: Score | None
    held_out: Score | None
    held_out_fitted: Score | None
    sequence: TrackedSequence
    report: dict[str, Any]


def refine(
    avatar: Avatar,
    sequence: TrackedSequence,
    config: RefineConfig | None = None,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    preview: Callable[[Tensor], None] | None = None,
    progress: Callable[[IterationState], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> RefineResult:
    """Refine `avatar` on `sequence` (§3.3): same Gaussians, same triangles, better attributes.

    Args:
        avatar: Stage 1's or the texture start's output for this subject.
        sequence: The subject's tracked frames.
        config: Every number of the run.
        checkpoint: Where to keep the state: every `checkpoint_every` iterations, when a stop is asked for, and after
            the last iteration. It is the caller's to remove, once what came of the run is safe.
        resume: Go on from `checkpoint`, to the same numbers as without a stop.
        preview: Called every `preview_seconds` with an (H, 2W, 3) picture, truth beside the avatar.
        progress: Called after every iteration.
        note: Called with a sentence when something else that takes minutes begins.

    Raises:
        UserError: Head of another edition, too few frames for the hold-out, a checkpoint of another run.
        Stopped: Ctrl-C or `kill` asked for a stop while it iterated; the iteration ended, the checkpoint was written.
        KeyboardInterrupt: They did before or after that, or twice; `checkpoint` is the last that was written.
    """
    config = config or RefineConfig()
    run = Refinement(avatar, sequence, config)
    start_score = score(avatar, sequence, run.held_out) if run.held_out else None
    before = load_run(run, checkpoint) if resume and checkpoint is not None else 0.0
    shown = run.held_out[len(run.held_out) // 2] if run.held_out else run.training[len(run.training) // 2]
    first_iteration = run.iteration
    seconds = before
    began = last_preview = time.perf_counter()
    over = fraction_after(config, run.iteration, before, run.cool_down) >= 1.0
    smoothed = 0.0
    # What torch still does here are short operations; handing them between threads costs more than they do, and on a
    # busy machine many times more. The kernels keep their own pool.
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with stops_held() as stop:
            while not (over or stop.asked):
                loss = run.step()
                seconds = before + time.perf_counter() - began
                over = run.advance_schedule(seconds)
                smoothed = loss if smoothed == 0.0 else 0.98 * smoothed + 0.02 * loss
                if progress is not None:
                    progress(IterationState(run.iteration, config.iterations, smoothed, seconds))
                if preview is not None and time.perf_counter() - last_preview > config.preview_seconds:
                    last_preview = time.perf_counter()
                    current = replace(avatar, gaussians=run.local().detach(), light=run.light, residual=run.residual())
                    preview(torch.cat([over_white(sequence, shown), draw(current, sequence, shown)], 1))
                if checkpoint is not None and run.iteration % config.checkpoint_every == 0 and not over:
                    save_run(run, checkpoint, seconds)
            # What follows changes the state, takes seconds, and can be stopped or killed as well.
            if checkpoint is not None and run.iteration > first_iteration:
                save_run(run, checkpoint, seconds)
    except KeyboardInterrupt as stopped:
        # One that fell within an iteration (a second Ctrl-C) leaves the state torn: the last checkpoint stands.
        if checkpoint is not None and run.whole_state and not isinstance(stopped, Stopped):
            save_run(run, checkpoint, seconds)
        raise
    finally:
        torch.set_num_threads(torch_threads)
    gaussians = run.result()
    made = {"iterations": run.iteration, "frames": len(run.training)}
    if run.learned_correctives is not None:
        made["correctives"] = len(run.learned_correctives.basis.directions)
    provenance = {**avatar.provenance, "refined": made}
    residual = run.residual()
    refined = replace(avatar, gaussians=gaussians, light=run.light, residual=residual, provenance=provenance)
    held_score = score(refined, sequence, run.held_out) if run.held_out else None
    fitted_score = None
    if run.motion is not None:
        moved = run.motion.corrected_sequence()
        if run.held_out:
            if note is not None:
                note(f"Fitting the motion of {len(run.held_out)} held-out frames, to score the avatar apart from it.")
            moved = fit_frames(refined, moved, run.held_out)
            fitted_score = score(refined, moved, run.held_out)
    else:
        moved = sequence
    report: dict[str, Any] = {
        "gaussians": len(avatar),
        "iterations": run.iteration,
        "ms_per_iteration": round(1000 * seconds / max(1, run.iteration), 2),
        "seconds": round(seconds, 1),
        **aspect_figures(gaussians.log_scales),
        "max_aspect_on_the_way": round(run.largest_aspect, 2),
        "unseen": int((run.moving == 0).sum()) if config.hold_unseen else 0,
        "final_loss": round(sum(run.losses[-200:]) / max(1, len(run.losses[-200:])), 5),
        "frame_store_mb": round(run.whole[1].nbytes / 2**20, 1),
        "config": asdict(config),
    }
    if start_score is not None and held_score is not None:
        report["start"] = {config.hold_out: start_score.as_dict()}
        report["held_out"] = {config.hold_out: held_score.as_dict()}
    if fitted_score is not None:
        report["held_out_fitted"] = {config.hold_out: fitted_score.as_dict()}
    return RefineResult(refined, start_score, held_score, fitted_score, moved, report)
