"""`spatialavatar view`, up to the moment it would wait for a browser."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.main import main
from spatialavatar.drive.live_protocol import Frame
from spatialavatar.drive.recording import ARKIT_NAMES
from spatialavatar.view.server import ViewServer
from tests.synthetic import painted_avatar


@pytest.fixture(scope="module")
def avatar_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_avatar(painted_avatar(24), tmp_path_factory.mktemp("view") / "me.avatar")


def test_serves_until_stopped(
    avatar_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    packets: list[int] = []

    def interrupted(server: ViewServer) -> None:
        packets.append(len(server.site.packets))
        raise KeyboardInterrupt

    monkeypatch.setattr(ViewServer, "run", interrupted)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["view", str(avatar_file), str(avatar_file), "--port", "0"]) == 0
    assert main(["view", str(avatar_file), "--port", "0", "--no-browser"]) == 0
    assert packets == [2, 1] and len(opened) == 1 and opened[0].startswith("http://127.0.0.1:")
    assert opened[0] in capsys.readouterr().out


def test_another_address_comes_with_a_token(
    avatar_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ViewServer, "run", lambda server: None)
    assert main(["view", str(avatar_file), "--host", "0.0.0.0", "--port", "0", "--no-browser"]) == 0
    path = capsys.readouterr().out.split("http://", 1)[1].split()[0].split("/", 1)[1]
    assert len(path) > 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"hello", "not an avatar"),
        (b"", "not an avatar"),
        (b"PK\x03\x04", "checkpoint"),
    ],
)
def test_what_is_no_avatar(
    tmp_path: Path, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "you.avatar"
    if content is not None:
        file.write_bytes(content)
    assert main(["view", str(file), "--no-browser"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--host", "203.0.113.7"]])
def test_where_it_cannot_listen(avatar_file: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(avatar_file), "--no-browser", *arguments]) == 2
    error = capsys.readouterr().err
    assert "--port" in error or "listened" in error


def test_a_webcam_drives_the_avatar(
    avatar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A face that a file of pictures stands in for, through the live server to a watcher."""
    client = pytest.importorskip("websockets.sync.client", reason="the package websockets (extra web) is missing")
    motions: list[dict[str, Any]] = []

    def faces(camera: int, finder: object) -> Iterator[Frame | None]:
        while True:
            time.sleep(0.02)
            yield Frame(tuple(0.5 if name == "jawOpen" else 0.0 for name in ARKIT_NAMES))

    def watch(server: ViewServer) -> None:
        assert server.site.live is not None
        with client.connect(server.site.live, proxy=None) as watcher:
            watcher.send('{"type": "watch"}')
            while not motions:
                message = json.loads(watcher.recv(timeout=20))
                motions.extend([message] if message["type"] == "motion" else [])

    monkeypatch.setattr("spatialavatar.track.webcam.webcam_frames", faces)
    monkeypatch.setattr("spatialavatar.track.faces.FaceLandmarkerFinder", lambda model: None)
    monkeypatch.setattr(ViewServer, "run", watch)
    arguments = ["--webcam", str(tmp_path / "face_landmarker.task"), "--port", "0", "--no-browser"]
    assert main(["view", str(avatar_file), *arguments]) == 0
    assert max(motions[0]["expression"]) == pytest.approx(0.5, abs=1e-5)
    assert "Webcam:" in capsys.readouterr().out


def test_a_webcam_without_its_model(avatar_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(avatar_file), "--webcam", str(tmp_path / "none.task"), "--no-browser"]) == 2
    assert "model does not exist" in capsys.readouterr().err


def test_too_many(avatar_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", *[str(avatar_file)] * 5, "--no-browser"]) == 2
    assert "up to 4" in capsys.readouterr().err
