"""The FLAME-family head: parameters in, posed mesh out; its file readers, UV layout and landmarks."""

from spatialavatar.head.flame import load_flame as load_flame
from spatialavatar.head.gnm import load_gnm as load_gnm
from spatialavatar.head.head import Head as Head
from spatialavatar.head.head import JointBases as JointBases
from spatialavatar.head.landmarks import LandmarkEmbedding as LandmarkEmbedding
from spatialavatar.head.landmarks import load_landmarks as load_landmarks
from spatialavatar.head.load import load_head as load_head
from spatialavatar.head.motion import Motion as Motion
from spatialavatar.head.open_head import load_open_head as load_open_head
from spatialavatar.head.rig import PreparedIdentity as PreparedIdentity
from spatialavatar.head.rig import Rig as Rig
from spatialavatar.head.uv import UVLayout as UVLayout
from spatialavatar.head.uv import build_uv_layout as build_uv_layout
from spatialavatar.head.uv import mirror_pixels as mirror_pixels
