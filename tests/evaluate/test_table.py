"""Tables in the paper's layout."""

import json
from importlib.resources import files
from itertools import pairwise

import pytest

from spatialavatar.errors import UserError
from spatialavatar.evaluate.protocol import ring
from spatialavatar.evaluate.score import METRICS
from spatialavatar.evaluate.statistics import mean_of
from spatialavatar.evaluate.table import HEADINGS, markdown, paper_table

NAMES = tuple(json.loads((files("spatialavatar.evaluate") / "paper.json").read_text("utf-8"))["tables"])


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_tables_are_whole(name: str) -> None:
    table = paper_table(name)
    assert table.rows and set(table.columns) <= set(HEADINGS)
    assert all(len(values) == len(table.columns) for values in table.rows.values())


def test_every_metric_has_a_heading() -> None:
    assert set(METRICS) == set(HEADINGS)


def test_measured_rows_follow_the_papers_in_its_columns() -> None:
    table = paper_table("vfhq_self")
    text = markdown({"ours": {"psnr": mean_of([[20.0, 22.0]]), "akd": mean_of([[3.0]])}}, beside=table)
    lines = text.splitlines()
    assert lines[0].startswith("|  | PSNR ↑ | SSIM ↑ | LPIPS ↓ | CSIM ↑ | AED ↓ | APD ↓ | AKD ↓ † |")
    assert lines[5].startswith("| SpatialAvatar-0 (paper) | 23.34 | 0.875 |")
    assert lines[6].startswith("| **ours** | 21.00 ± ") and "| – | – |" in lines[6]
    assert {line.count("|") for line in lines[:7]} == {lines[0].count("|")}
    assert "do not compare" in text
    assert "do not compare" not in markdown({"ours": {"psnr": mean_of([[20.0]])}}, beside=table)


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(UserError, match="no table 'vhfq'"):
        paper_table("vhfq")


def test_the_ring_drives_everybody_once() -> None:
    pairs = ring(["a", "b", "c"])
    assert pairs == [("a", "b"), ("b", "c"), ("c", "a")]
    assert all(first[1] == second[0] for first, second in pairwise(pairs))
    with pytest.raises(UserError, match="two clips or more"):
        ring(["a"])
