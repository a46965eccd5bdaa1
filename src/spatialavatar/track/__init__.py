"""Photos or video in, a TrackedSequence out."""

from spatialavatar.track.loss import FAST as FAST
from spatialavatar.track.loss import FitConfig as FitConfig
from spatialavatar.track.track import fit_sequence as fit_sequence
from spatialavatar.track.track import track as track
