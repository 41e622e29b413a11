import io
import json

import numpy as np
import pandas as pd
import pytest
import torch

from rnn.diagnosis import COLUMNS
from rnn.examination import diagnose
from rnn.measuring.number_formats import NUMBER_FORMATS
from rnn.pages.frames import frame_csv, frame_markdown, marked, plain


def recurrent(W):
    return {"rnn.weight_hh_l0": torch.tensor(np.array(W), dtype=torch.float64)}


def test_formats_hold_the_same_numbers():
    state = recurrent([[0.2, 1.0], [0.0, 0.2]]) | {
        "<b>.weight": torch.ones(1, 2),
        "odd|name": torch.ones(2, 2),
    }
    found = diagnose(state, epsilon=1e-3)
    table = pd.read_csv(io.StringIO(found.to_csv()), dtype={"gate": str}).fillna({"gate": ""})
    pd.testing.assert_frame_equal(table, found.table, check_dtype=False)
    assert "nan" not in found.to_csv().lower()

    content = json.loads(found.to_json())
    assert content["level"] == found.level
    assert content["matrices"][0]["eigenvector_condition_number"] == "inf"
    assert content["matrices"][1]["spectral_radius"] is None
    assert content["matrices"][0]["spectral_norm"] == found.table.loc[0, "spectral_norm"]
    assert content["source"] == "state_dict"
    assert len(content["intervals"]) == len(found.intervals)
    assert content["intervals"][0]["lower"] == found.intervals.loc[0, "lower"]
    assert {row["number_format"] for row in content["rounding"]} == set(NUMBER_FORMATS)
    assert [entry["text"] for entry in content["findings"]] == [finding.text for finding in found.findings]
    assert content["unrecognised"][0]["name"] == "odd|name"

    page = found.to_html()
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;.weight" in page
    assert "<b>" not in page
    assert "<b>" not in found._repr_html_()
    markdown = found.to_markdown()
    widths = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {len(COLUMNS) + 1}


def test_numbers_that_json_does_not_know_are_spelt_out():
    assert [plain(value) for value in (np.float64(0.5), np.inf, -np.inf, np.nan, np.int64(3), "x")] == [
        0.5,
        "inf",
        "-inf",
        None,
        3,
        "x",
    ]


def test_tables_keep_their_cells_apart():
    table = pd.DataFrame({"name": ["a|b\nc", 'quote "'], "value": [np.nan, 1 / 3]})
    back = pd.read_csv(io.StringIO(frame_csv(table)))
    pd.testing.assert_frame_equal(back, table)
    assert frame_markdown(table)[2:] == ["| a\\|b c |  |", '| quote " | 0.333333 |']


@pytest.mark.parametrize("mark", list("\\`*_[]<>|"))
def test_marks_of_markdown_are_escaped(mark):
    assert marked(f"a{mark}b") == f"a\\{mark}b"
