"""`spatialavatar view`, up to the moment it would wait for a browser."""

from pathlib import Path

import pytest

from spatialavatar.avatar.file import save_avatar
from spatialavatar.cli.main import main
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


def test_too_many(avatar_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", *[str(avatar_file)] * 5, "--no-browser"]) == 2
    assert "up to 4" in capsys.readouterr().err
