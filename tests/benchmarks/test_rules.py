"""Rules of Stage 2 are left out one at a time, and leaving one out changes nothing else."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from benchmarks.novel_view_parts.rules import RULES, changes_nothing, without
from benchmarks.novel_view_parts.steps import code_key, key_of, made_folder
from spatialavatar.errors import UserError
from spatialavatar.refine.config import RefineConfig, suited_to


def flat(value: dict, prefix: str = "") -> dict:
    found = {}
    for name, each in value.items():
        found |= flat(each, f"{prefix}{name}.") if isinstance(each, dict) else {prefix + name: each}
    return found


CHANGED = {
    "neighbours": {"tethers.neighbours"},
    "side-views": {"side_views.every"},
    "evidence": {"hold_unseen"},
    "hidden-colours": {"hidden_evidence"},
    "tethers": {"tethers.position", "tethers.log_scale", "tethers.opacity", "tethers.color"},
    "own-aspect": {"anti_spike.own_aspect_factor"},
    "light": {"light_at"},
    "correctives": {"correctives.components"},
    "slopes": set(),
    "inside": {"anti_spike.maximum_inside"},
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_left_out_by_its_own_numbers(name: str) -> None:
    config = suited_to("video", RefineConfig(iterations=3_700), quick=True)
    before, after = flat(asdict(config)), flat(asdict(without(config, [name])))
    assert {key for key in before if before[key] != after[key]} == CHANGED[name]
    assert changes_nothing(config, name) == (not CHANGED[name])


def test_photos_have_no_light_to_leave_out_but_glare() -> None:
    config = suited_to("photos", RefineConfig(iterations=600))
    assert {name for name in RULES if changes_nothing(config, name)} == {
        "neighbours",
        "hidden-colours",
        "light",
        "correctives",
    }
    assert without(config, ["slopes"]).glare


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'shadows'"):
        without(RefineConfig(), ["shadows"])


def test_a_step_is_made_once_and_whole(tmp_path) -> None:
    calls = []

    def make(folder) -> None:
        calls.append(folder)
        (folder / "part").write_text("x")
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_folder(tmp_path / "a" / "step", make)
    assert not (tmp_path / "a" / "step").exists()
    for _ in range(2):
        assert (made_folder(tmp_path / "a" / "step", make) / "part").read_text() == "x"
    assert len(calls) == 2


def test_keys_tell_values_and_code_apart() -> None:
    assert key_of("a", 1) == key_of("a", 1) != key_of("a", 2)
    assert code_key("refine") != code_key("track")
    assert code_key("create") == code_key("create")
