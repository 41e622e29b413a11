import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from rnn.report import Cell, Picture, Report, Table, prose, render_report, visible

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def report(text="text", **changes):
    fields = {
        "title": text,
        "lead": text,
        "findings": [text],
        "tables": [
            Table(text, text, [text, text], [[Cell(text), Cell(text, strong=True, title=text)]], [text])
        ],
        "glossary": [(text, text)],
        "command": text,
        "facts": [(text, text)],
        "method": [text],
        "limits": [text],
        "figures": [Picture(text, text, text, b"\x89PNG")],
    }
    return Report(**(fields | changes))


def test_the_page_is_well_formed_and_needs_nothing_else():
    text = render_report(report())
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes)
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text
    assert page.all("script") == []


def test_every_text_is_escaped():
    text = render_report(report(EVIL))
    assert "<script>" not in text
    page = Page(text)
    assert "".join(page.words).count(EVIL) == 21  # every field once, titles twice
    assert page.all("img")[0]["alt"] == EVIL
    assert page.all("td")[0]["title"] == EVIL


def test_links_lead_somewhere_and_names_are_unique():
    page = Page(render_report(report()))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(names)
    for section in page.all("section"):
        assert section["aria-labelledby"] in names


def test_sections_without_content_are_left_out():
    page = Page(render_report(report(method=[], figures=[], limits=[])))
    links = [link["href"] for link in page.all("a")]
    assert links == [
        "#main",
        "#words",
        "#found",
        "#tables",
        "#words",
        "#repeat",
        "#words",
    ]  # skip, lead, contents
    assert page.all("img") == []
    assert len(page.all("section")) == 4


def test_tables_say_which_cells_are_heads():
    page = Page(render_report(report()))
    assert [head["scope"] for head in page.all("th")] == ["col", "col", "row"]
    assert [cell["class"] for cell in page.all("td")] == ["strong"]


def test_light_dark_print_and_phone_are_provided_for():
    text = render_report(report())
    for wanted in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem", 'name="viewport"'):
        assert wanted in text
    assert Page(text).all("html")[0]["lang"] == "en"


def test_headings_descend_one_level_at_a_time():
    levels = [int(level) for level in re.findall(r"<h(\d)", render_report(report()))]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_ragged_table_is_refused():
    table = Table("sizes", "", ["a", "b"], [[Cell("1")]])
    with pytest.raises(ValueError, match="table 'sizes' has 2 heads and a row of 1 cells"):
        render_report(report(tables=[table]))


def test_prose_joins_lines_and_keeps_no_break_spaces():
    assert prose("  one\n     two\u00a0%  ") == "one two\u00a0%"


def test_letters_that_cannot_be_seen_are_spelt_out():
    hostile = "a\u202eb\u200b\x00\ud800c\n\td"
    assert visible(hostile) == "a\\u202eb\\u200b\\x00\\ud800c\n\td"
    assert visible("‖A‖ ≤ 1\u00a0%") == "‖A‖ ≤ 1\u00a0%"
    page = render_report(report(hostile))
    assert "a\\u202eb\\u200b\\x00\\ud800c" in page
    assert not set("\u202e\u200b\x00\ud800") & set(page)
    page.encode()


def test_a_link_skips_to_the_contents():
    page = Page(render_report(report()))
    assert page.all("a")[0]["href"] == "#main"
    assert page.all("main")[0]["id"] == "main"
