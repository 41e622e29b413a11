import base64
import dataclasses
import hashlib
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from test_report import EVIL, Page

import rnn.pages.diagnosis_page
import spectra
from rnn.details import matrix_detail
from rnn.findings import Finding
from rnn.measuring.measures import MEASURES
from rnn.pages.diagnosis_page import MOST_PICTURED, PageContents, diagnosis_page, shortened
from rnn.pages.matrix_cards import card_tables, matrix_card
from rnn.pages.matrix_words import sentences
from rnn.report import Cell, Picture, Section, Table
from spectra.gallery import grcar

SIGNS = {"warning": "▲", "notice": "◆", "pass": "✓"}


def row_of(name, detail, role="recurrent", shape=(8, 8), gate=""):
    row = {"name": name, "layer": 0, "direction": "forward", "gate": gate, "role": role}
    row |= {"rows": shape[0], "columns": shape[1]}
    return row | {m.name: np.nan if detail is None else detail.values.get(m.name, np.nan) for m in MEASURES}


def contents(rows, **changes):
    columns = list(row_of("", None))
    fields = {
        "source": "model.pt",
        "findings": [],
        "table": pd.DataFrame(rows, columns=columns),
        "epsilon": 0.1,
        "seconds": 1.25,
        "command": "spectra diagnose model.pt --html report.html",
    }
    return PageContents(**(fields | changes))


@pytest.fixture(scope="module")
def details():
    rng = np.random.default_rng(0)
    return {
        "rnn.weight_hh_l0": matrix_detail("rnn.weight_hh_l0", grcar(8) / 3, epsilon=0.1),
        "rnn.weight_hh_l1": matrix_detail("rnn.weight_hh_l1", np.diag([1.5, *[0.5] * 7]), epsilon=0.1),
        "head.weight": matrix_detail("head.weight", rng.standard_normal((40, 50)), epsilon=0.1),
    }


@pytest.fixture(scope="module")
def full(details):
    rows = [
        row_of("head.weight", details["head.weight"], role="linear", shape=(40, 50)),
        row_of("rnn.weight_hh_l0", details["rnn.weight_hh_l0"]),
        row_of("rnn.weight_hh_l1", details["rnn.weight_hh_l1"]),
    ]
    return contents(
        rows,
        details=tuple(details.values()),
        findings=[
            Finding("pass", "network", "All is loaded."),
            Finding("notice", "rnn.weight_hh_l0", "The norm 1.1 is above 1: states can grow. Bound it by 1."),
            Finding(
                "warning", "rnn.weight_hh_l1", "Spectral radius 1.5 is above 1, which matters. Rescale it."
            ),
        ],
        unrecognised=[("odd.key", "numbers of type int8, not real weights")],
        sections=[Section("Number formats", ["By norm."], [Table("Formats", "c", ["a"], [[Cell("int8")]])])],
        facts=[("torch", "2.13.0")],
    )


@pytest.fixture(scope="module")
def text(full):
    return diagnosis_page(full)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def words(page):
    return re.sub(r"\s+", " ", " ".join(page.words))


def test_the_page_is_well_formed_and_needs_nothing_else(text, page):
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/png", "#")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text
    assert "url(" not in text
    assert "://" not in text


def test_the_browser_is_told_to_load_nothing_and_to_run_the_one_script(text, page):
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_links_lead_somewhere_and_names_are_unique(page):
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(names)
    for section in page.all("section"):
        assert section["aria-labelledby"] in names


def test_headings_descend_one_level_at_a_time(text):
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_tables_have_captions_heads_and_names(text, page):
    tables = page.all("table")
    assert len(tables) == len(page.all("caption")) == 2 + 3 + 1  # by role, by matrix, of the section
    assert all(head.get("scope") in {"col", "row"} for head in page.all("th"))
    boxes = [a for a in page.all("div") if a.get("class", "").startswith("scroll")]
    assert len(boxes) == len(tables)
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes)


def test_pictures_have_words_with_numbers(page, details):
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == 2 + 2 + 2 * 3 + 1  # examples, thumbnails, two square matrices, one rectangular
    assert all(alts)
    peak = details["rnn.weight_hh_l0"].growth.peak
    assert any(f"by way of {peak:.4g} at k" in alt for alt in alts)


def test_findings_come_worst_first_with_word_sign_and_links(text, page):
    found = text[text.index('id="found"') : text.index('id="matrices"')]
    assert re.findall(r'id="finding-(\d+)"', found) == ["1", "2", "3"]
    badges = re.findall(r'<span class="level (\w+)"><span aria-hidden="true">(.)</span> (\w+)</span>', found)
    assert badges == [(level, sign, level) for level, sign in SIGNS.items()]
    assert '<a href="#matrix-3"><bdi>rnn.weight_hh_l1</bdi></a>' in found
    assert '<a class="term" href="#term-spectral-radius">Spectral radius</a> 1.5 is above 1' in found
    assert "<bdi>network</bdi>" in found


def test_no_level_is_told_by_colour_alone(text):
    badges = re.findall(r'<span class="level (\w+)">(.*?)</span>(.*?)<', text)
    assert len(badges) > 10
    for level, sign, word in badges:
        assert level == "none" or (SIGNS[level] in sign and level in word)


def test_the_summary_says_how_it_stands_and_what_to_do_first(page):
    said = words(page)
    assert "Needs attention: 1 warning, on 1 of 3 matrices." in said
    assert "1 entry of the file was not understood and is not judged." in said
    assert "What to do first: Rescale it. This is for rnn.weight_hh_l1" in said


@pytest.mark.parametrize(
    ("findings", "rows", "verdict"),
    [
        ([], 1, "Nothing that calls for action was found in 1 matrix."),
        ([], 0, "No matrix was found, so nothing can be said."),
        ([Finding("pass", "m0", "Fine.")], 2, "Nothing that calls for action was found in 2 matrices."),
        ([Finding("notice", "m0", "Hm.")], 2, "No warnings; 1 notice to keep in mind, for 2 matrices."),
        ([Finding("warning", "network", "Oh.")] * 2, 1, "Needs attention: 2 warnings."),
    ],
)
def test_verdicts(findings, rows, verdict):
    page = Page(diagnosis_page(contents([row_of(f"m{i}", None) for i in range(rows)], findings=findings)))
    assert verdict in words(page)
    action = any(finding.level != "pass" for finding in findings)
    assert ("What to do first" in words(page)) == action


def test_each_matrix_says_its_numbers(text, details):
    plain = re.sub(r"<[^>]+>", "", text)
    for detail in details.values():
        for sentence in sentences(detail):
            assert sentence in plain
    values = details["rnn.weight_hh_l0"].values
    row = re.search(r'<tr id="row-2">.*?</tr>', text, flags=re.DOTALL)[0]
    for name in ("spectral_radius", "kreiss_constant", "distance_to_instability"):
        assert f'<td data-value="{values[name]!r}">{values[name]:.4g}</td>' in row
    assert ">∞<" in re.search(r'<tr id="row-3">.*?</tr>', text, flags=re.DOTALL)[0]


def test_rectangular_matrices_have_a_table_of_their_own(text):
    titles = re.findall(r"<h3>(\w+: \d+ \w+ \w+)</h3>", text)
    assert titles == ["Recurrent: 2 square matrices", "Linear: 1 rectangular matrix"]
    row = re.search(r'<tr id="row-1">.*?</tr>', text, flags=re.DOTALL)[0]
    assert "thumbnail" not in row
    assert row.count("data-value") == 5 + 1


def test_every_text_is_escaped():
    evil = EVIL + "\"'\u202e" + "x" * 5000
    detail = matrix_detail(evil, np.eye(3), epsilon=0.1, quick=True)
    found = contents(
        [row_of(evil, detail, role=EVIL, gate=EVIL, shape=(3, 3))],
        source=evil,
        command=evil,
        details=[detail],
        findings=[Finding(level, evil, evil) for level in SIGNS],
        unrecognised=[(evil, evil)],
        sections=[
            Section(
                evil, [evil], [Table(evil, evil, [evil], [[Cell(evil)]])], [Picture(evil, evil, evil, b"x")]
            )
        ],
        facts=[(evil, evil)],
    )
    text = diagnosis_page(found)
    page = Page(text)
    assert len(page.all("script")) == 1
    assert '<script>alert("x")' not in text
    assert "\u202e" not in text
    assert "\\u202e" in text
    assert "".join(page.words).count(EVIL) > 20
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith(("on", "x"))]
    text.encode()
    shown = [word for word in page.words if "xxxx" in word and "Full name" not in word]
    assert any(len(word) < 100 for word in shown)


def test_long_names_lose_their_middle_only():
    assert shortened("weight") == "weight"
    name = shortened("a" * 50 + "b" * 50)
    assert len(name) == 80
    assert name == "a" * 40 + "…" + "b" * 39


def test_many_alike_findings_stand_behind_the_first():
    rows = [row_of(f"m{i}", None) for i in range(6)]
    alike = [Finding("notice", f"m{i}", f"The norm {i + 0.5} is above 1e-{i + 1}.") for i in range(5)]
    text = diagnosis_page(contents(rows, findings=[*alike, Finding("notice", "m5", "Something else.")]))
    assert "The same, with other numbers, of 4 more" in text
    assert len(re.findall(r'id="finding-\d"', text)) == 6
    few = diagnosis_page(contents(rows, findings=alike[:3]))
    assert "The same" not in few


def test_without_details_the_table_stands_alone():
    text = diagnosis_page(contents([row_of("m", None)]))
    page = Page(text)
    assert 'id="details"' not in text
    assert 'id="unknown"' not in text
    assert len(page.all("img")) == 2  # the examples
    assert text.count('data-value=""') == 7  # nothing measured
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= {
        attributes["id"] for _, attributes in page.tags if "id" in attributes
    }


def test_pictures_go_to_the_worst_and_the_page_says_so(details, monkeypatch):
    monkeypatch.setattr(rnn.pages.diagnosis_page, "MOST_PICTURED", 2)
    names = [f"m{i}" for i in range(4)]
    made = [matrix_detail(name, np.diag([0.5, i / 10]), epsilon=0.1) for i, name in enumerate(names)]
    rows = [row_of(name, detail, shape=(2, 2)) for name, detail in zip(names, made, strict=True)]
    findings = [Finding("warning", "m3", "Bad."), Finding("notice", "m1", "Odd.")]
    text = diagnosis_page(contents(rows, details=made, findings=findings))
    rows_of_page = re.findall(r'<tr id="row-(\d)">(.*?)</tr>', text, flags=re.DOTALL)
    assert [place for place, row in rows_of_page if "thumbnail" in row] == ["2", "4"]
    assert "2 of 4 matrices have pictures" in text
    assert re.findall(r'<div id="matrix-(\d)">', text) == ["4", "2", "1", "3"]  # worst first
    assert len(re.findall(r'<details class="matrix" open>', text)) == 1


def test_the_size_of_a_page_is_bounded():
    A = np.random.default_rng(0).standard_normal((64, 64)) / 8
    detail = matrix_detail("w", A, epsilon=0.1)
    row = row_of("w", detail, shape=(64, 64))
    one = len(diagnosis_page(contents([row], details=[detail])))
    none = len(diagnosis_page(contents([])))
    assert (one - none) * MOST_PICTURED + none < 5e6


def test_what_was_not_computed_or_drawn_is_said():
    huge = np.diag([1e200, 2e200])
    detail = matrix_detail("w", huge, epsilon=0.1, quick=True)
    detail = dataclasses.replace(detail, distribution=spectra.singular_value_distribution(huge))
    text = diagnosis_page(contents([row_of("w", detail, shape=(2, 2))], details=[detail]))
    assert "Singular values not drawn: result has eigenvalues beyond the floats" in text
    large = matrix_detail("w", np.eye(4), epsilon=0.1, largest=3)
    text = diagnosis_page(contents([row_of("w", large, shape=(4, 4))], details=[large]))
    assert large.failures[0] in text


def test_a_ragged_table_of_a_section_is_refused():
    section = Section("s", tables=[Table("sizes", "", ["a", "b"], [[Cell("1")]])])
    with pytest.raises(ValueError, match="table 'sizes' has 2 heads and a row of 1 cells"):
        diagnosis_page(contents([], sections=[section]))


def test_cards_sort_into_tables_with_recurrent_square_ones_first(details):
    rows = [("a", "linear", (3, 3)), ("b", "recurrent", (3, 4)), ("c", "recurrent", (3, 3))]
    cards = [
        matrix_card(i, row_of(name, None, role=role, shape=shape), detail=None, level="", pictured=False)
        for i, (name, role, shape) in enumerate(rows)
    ]
    assert [[card.name for card in table.cards] for table in card_tables(cards)] == [["c"], ["b"], ["a"]]
    assert not any(table.thumbnails for table in card_tables(cards))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(first, second):
    high, low = sorted([luminance(first), luminance(second)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_at_least_4_5_in_light_dark_and_print(text):
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    schemes = re.findall(r":root \{(.*?)\}", text, flags=re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        full = {name: c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:]) for name, c in
                re.findall(r"--(\w+): (#\w+)", scheme)}  # fmt: skip
        assert len(full) == 9
        for name in ("ink", "soft", "accent", "warning", "notice", "pass"):
            for ground in ("paper", "card"):
                assert contrast(full[name], full[ground]) >= 4.5, (name, ground, full)


def test_motion_is_left_out_on_request_and_focus_is_seen(text):
    assert "prefers-reduced-motion: reduce" in text
    assert "summary):focus-visible" in text
    assert 'href="#main">Skip' in text


def test_in_a_browser_nothing_sticks_out_nothing_is_asked_for_and_tables_sort(text, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(text.replace("odd.key", "odd.key." + "x" * 400), encoding="utf-8")
    with Browser() as browser:
        browser.open(path)
        assert browser.run("return document.querySelectorAll('details.matrix[open]').length") == 1
        browser.run("location.hash = '#matrix-2'")
        assert browser.run("return document.querySelector('#matrix-2').closest('details').open")
        browser.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        widths = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
        names = (
            "return [...document.querySelectorAll('table.sortable')[0].tBodies[0].rows].map(row => row.id)"
        )
        head = "document.querySelectorAll('table.sortable th button')[2].click(); "
        orders = [browser.run(names), browser.run(head + names), browser.run(head + names)]
        assert browser.log("browser") == []
        assert browser.requests() == [path.as_uri()]
    assert widths == [390, 390]
    assert orders == [["row-2", "row-3"], ["row-3", "row-2"], ["row-2", "row-3"]]  # by spectral radius
