"""The FLAME-family head: parameters in, posed mesh out; its file readers, UV layout and landmarks."""

from spatialavatar.head.head import Head as Head
from spatialavatar.head.motion import Motion as Motion
from spatialavatar.head.rig import PreparedIdentity as PreparedIdentity
from spatialavatar.head.rig import Rig as Rig
