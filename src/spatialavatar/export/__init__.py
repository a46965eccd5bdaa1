"""Avatars and motions in the formats of other programs: .ply, .spz, glTF, a rigged bundle, motion tables."""
