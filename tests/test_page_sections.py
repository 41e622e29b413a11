import numpy as np
import pandas as pd
import pytest
import torch

from rnn.comparison import compare
from rnn.examination import diagnose
from rnn.models import ModelConfig, build_model
from rnn.pages.matrix_words import number
from rnn.pages.page_sections import (
    comparison_sections,
    dynamics_sections,
    lipschitz_sections,
    rounding_sections,
    table_of,
)


@pytest.fixture(scope="module")
def found():
    model = build_model(ModelConfig("gru", features=3, steps=6, hidden=4))
    return diagnose(model, data=torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0)))


def test_numbers_of_a_table():
    frame = pd.DataFrame({"a": [0.123456, -np.inf, np.nan, 1e-20], "b": [3, 4, 5, 6], "c": list("xyzw")})
    table = table_of(frame, title="T", caption="", heads={"a": "A", "b": "B", "c": "C"})
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts == [["0.1235", "3", "x"], ["-∞", "4", "y"], ["\N{EN DASH}", "5", "z"], ["1e-20", "6", "w"]]


def test_a_table_shows_the_wanted_columns_in_order():
    frame = pd.DataFrame({"a": [1.0], "b": ["x"], "c": [2]})
    table = table_of(frame, title="T", caption="of\n  lines", heads={"b": "B", "a": "A"})
    assert list(table.heads) == ["B", "A"]
    assert [[cell.text for cell in row] for row in table.rows] == [["x", "1"]]
    assert table.caption == "of lines"


def test_the_part_about_a_layer_says_its_numbers(found):
    (section,) = dynamics_sections(found.dynamics)
    layer = found.dynamics[0]
    assert section.title == f"Dynamics of {layer.name} on data"
    assert f"{layer.lyapunov.exponents[0]:.3g} ± {layer.lyapunov.errors[0]:.1g} per step" in section.text[0]
    titles = [picture.title for picture in section.pictures]
    assert titles[:4] == [
        "Growth along the data",
        "Step by step",
        "Lyapunov exponents",
        "State Jacobian at the mean state and input",
    ]
    assert "State Jacobian where its norm along the data is largest" in titles
    assert f"At point 1: {layer.points.kinds[0]}" in titles
    assert all(picture.png[1:4] == b"PNG" and len(picture.alt) > 40 for picture in section.pictures)
    assert len(section.tables[0].rows) == len(layer.points)
    assert all(len(row) == len(section.tables[0].heads) for row in section.tables[0].rows)


def test_the_part_about_lipschitz_constants(found):
    (section,) = lipschitz_sections(found.lipschitz, found.local_lipschitz)
    assert "This is proven" in section.text[0]
    assert number(found.lipschitz.bound) in section.text[0]
    assert number(found.local_lipschitz.largest) in section.text[1]
    assert len(section.tables[0].rows) == len(found.lipschitz.layers)
    assert lipschitz_sections(None, None) == []
    assert len(lipschitz_sections(found.lipschitz, None)[0].text) == 1


def test_the_part_about_number_formats(found):
    (section,) = rounding_sections(found.rounding)
    assert [row[-1].text for row in section.tables[0].rows] == found.rounding["verdict"].tolist()
    assert rounding_sections(found.rounding.iloc[:0]) == []


def test_the_part_about_changes():
    first, second = ({"weight_hh": size * torch.eye(2)} for size in (0.5, 0.25))
    change = compare(first, second)
    (section,) = comparison_sections(change.table, "a.pt", "b.pt")
    assert "From a.pt to b.pt" in section.text[0]
    rows = {row[1].text: [cell.text for cell in row[2:]] for row in section.tables[0].rows}
    assert rows["spectral radius"] == ["0.5", "0.25", "-0.25", "0.5"]
    assert rows["norm of the change"] == ["0.5", "0.25", "0.25", "0.5"]
    assert "What changed" in change.to_html()


def test_all_parts_are_on_the_page(found):
    page = found.to_html()
    for title in (found.dynamics[0].name, "Lipschitz bounds", "Number formats"):
        assert title in page
