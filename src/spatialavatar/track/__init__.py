"""Photos or video in, a TrackedSequence out."""

from spatialavatar.track.loss import FAST as FAST
from spatialavatar.track.loss import FitConfig as FitConfig
from spatialavatar.track.tracker import fit_sequence as fit_sequence
from spatialavatar.track.tracker import track as track
