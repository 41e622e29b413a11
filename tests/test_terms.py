import re

import pytest

from rnn.measuring.measures import MEASURES
from rnn.pages.terms import TERMS, linked


def test_every_measure_is_a_term_and_every_place_is_named_once():
    labels = [term.label for term in TERMS]
    assert {measure.label for measure in MEASURES} <= set(labels)
    assert len({term.anchor for term in TERMS}) == len(TERMS) == len(set(labels))
    forms = [form.lower() for term in TERMS for form in (term.label, *term.others)]
    assert len(forms) == len(set(forms))
    for term in TERMS:
        assert re.fullmatch(r"term-[a-z]+(-[a-z]+)*", term.anchor)
        assert term.definition.endswith((".", ")"))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.label)
def test_every_form_of_a_term_leads_to_it(term):
    for form in (term.label, *term.others):
        link = f'<a class="term" href="#{term.anchor}">{form}</a>'
        assert str(linked(f"the {form}, or so")).replace("&#39;", "'") == f"the {link}, or so"


def test_terms_are_linked_once_longest_first_and_never_inside_names():
    text = str(
        linked("Spectral norm 2, norm 3; non-normal; rnn.norm.weight, layer_norm, spectra.gate, norm.")
    )
    assert re.findall(r'href="#term-([a-z-]+)">([^<]+)', text) == [
        ("spectral-norm", "Spectral norm"),
        ("non-normal", "non-normal"),
    ]
    assert re.sub(r"<[^>]+>", "", text) == (
        "Spectral norm 2, norm 3; non-normal; rnn.norm.weight, layer_norm, spectra.gate, norm."
    )


def test_texts_are_escaped():
    assert str(linked('<b> norm & "')) == (
        '&lt;b&gt; <a class="term" href="#term-spectral-norm">norm</a> &amp; &#34;'
    )
