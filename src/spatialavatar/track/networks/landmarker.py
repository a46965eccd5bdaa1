"""The three models in MediaPipe's `face_landmarker.task`, which is a zip archive of TensorFlow Lite files."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass

from spatialavatar.errors import UserError
from spatialavatar.input_files import read_bytes
from spatialavatar.track.networks.blendshapes import Blendshapes
from spatialavatar.track.networks.detector import Detector
from spatialavatar.track.networks.landmarks import PlainMesh
from spatialavatar.track.networks.network import Network

# Bytes. The published file has 3.8 million, and stores its members as they are.
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Landmarker:
    """The models."""

    detector: Detector
    mesh: PlainMesh
    blendshapes: Blendshapes


def read_landmarker(path: str | os.PathLike[str]) -> Landmarker:
    """Read a `face_landmarker.task`.

    Raises:
        UserError: It cannot be read, or is another kind of file.
    """
    data = read_bytes(path, _LARGEST)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # zipfile raises several kinds for files that are none.
        raise UserError(f"this is not a face landmarker model ({error}).", where=path) from None

    def network(name: str) -> Network:
        return Network(_member(archive, f"{name}.tflite", path), f"{os.fspath(path)}: {name}.tflite")

    return Landmarker(
        Detector(network("face_detector"), "short"),
        PlainMesh(network("face_landmarks_detector")),
        Blendshapes(network("face_blendshapes")),
    )


def _member(archive: zipfile.ZipFile, name: str, path: str | os.PathLike[str]) -> bytes:
    try:
        if archive.getinfo(name).file_size > _LARGEST:
            raise UserError(f"{name} in this face landmarker model is too large.", where=path)
        return archive.read(name)
    except KeyError:
        raise UserError(f"this is not a face landmarker model: it has no {name}.", where=path) from None
    except UserError:
        raise
    except Exception as error:  # Damaged archives end in any exception.
        raise UserError(f"{name} in this face landmarker model is damaged ({error}).", where=path) from None
