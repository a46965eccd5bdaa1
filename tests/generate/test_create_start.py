"""What `create` starts from: auto, the generator, the texture; on both layouts."""

from dataclasses import replace
from pathlib import Path

import pytest

from spatialavatar.create import CreateOptions, chosen_start, start_avatar
from spatialavatar.errors import UserError
from spatialavatar.generate.checkpoint import save_generator
from tests.generate.small import person, small_generator


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_generator(small_generator(trained=True), tmp_path_factory.mktemp("g") / "g.safetensors")


def test_auto_is_the_generator_for_photos_and_where_one_is_given(file: Path) -> None:
    video = person().sequence
    photos = replace(video, kind="photos").select([0, 1, 2])
    assert chosen_start(CreateOptions(), video) == "texture"
    assert chosen_start(CreateOptions(), photos) == "generator"
    assert chosen_start(CreateOptions(), replace(video, kind="photos").select([0, 1, 2, 3, 0])) == "texture"
    assert chosen_start(CreateOptions(generator=file), video) == "generator"
    assert chosen_start(CreateOptions(start="generator"), video) == "generator"
    assert chosen_start(CreateOptions(start="texture", generator=file), photos) == "texture"


def test_the_start_has_the_layout_that_was_asked_for(file: Path) -> None:
    sequence = replace(person().sequence, kind="photos")
    options = CreateOptions(start="generator", generator=file, fast=True)
    avatar = start_avatar(sequence, person().avatar.head, options, [0, 2])
    assert avatar.layout.resolution == 128 and avatar.provenance["start"] == "generator"
    assert avatar.residual is not None and avatar.given_framing is not None


def test_five_photos_are_refused(file: Path) -> None:
    sequence = replace(person().sequence, kind="photos")
    options = CreateOptions(start="generator", generator=file)
    with pytest.raises(UserError, match="1 to 4 pictures of one person; it was given 5"):
        start_avatar(sequence, person().avatar.head, options, [0, 1, 2, 3, 4])
