"""What the words of a diagnosis mean, and links from a text to the meanings of its words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnn.measuring.measures import MEASURES

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """A word, and what it means.

    Attributes
    ----------
    label : str
        The word.
    definition : str
        A sentence or two.
    others : tuple of str
        Further forms in which a text may hold it.
    """

    label: str
    definition: str
    others: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Name of the place of its definition on a page."""
        return "term-" + re.sub(r"[^a-z]+", "-", self.label.lower()).strip("-")


_FORMS = {
    "spectral_radius": ("spectral radii",),
    "spectral_norm": ("norm",),
    "henrici_departure": ("Henrici's departure", "Henrici"),
    "eigenvector_condition_number": ("κ(V)",),
}

TERMS = tuple(
    sorted(
        [
            *(Term(m.label, m.definition, _FORMS.get(m.name, ())) for m in MEASURES),
            Term(
                "eigenvalue",
                "A number λ with A v = λ v for some vector v ≠ 0: along v the matrix only multiplies by λ.",
                ("eigenvalues",),
            ),
            Term(
                "pseudospectrum",
                "The ε-pseudospectrum is the set of all numbers that are an eigenvalue of A + E for some "
                "matrix E of norm at most ε. With ε = 0 it is the set of eigenvalues.",
                ("pseudospectra", "ε-pseudospectrum"),
            ),
            Term(
                "unit circle",
                "The numbers of modulus 1. Repeated steps x → A x shrink along eigenvectors with eigenvalues "
                "inside it, and grow along those with eigenvalues outside.",
            ),
            Term(
                "normal matrix",
                "A matrix with orthogonal eigenvectors. Its eigenvalues tell everything: growth follows the "
                "spectral radius, and a perturbation moves an eigenvalue at most by its own norm.",
                ("normal",),
            ),
            Term(
                "non-normal",
                "Not normal: eigenvectors are not orthogonal, so that vectors can grow for a while although "
                "all eigenvalues lie inside the unit circle, and small changes can move eigenvalues far.",
                ("non-normality",),
            ),
            Term(
                "perturbation",
                "A change A + E of the matrix: by rounding, noise, further training or an attacker. Its size "
                "is its spectral norm ‖E‖.",
                ("perturbations",),
            ),
            Term(
                "singular value",
                "The lengths of the half axes of the ellipsoid that A makes of the unit ball; the largest is "
                "the spectral norm.",
                ("singular values",),
            ),
            Term(
                "transient growth",
                "Largest factor by which a state can grow before it decays: the maximum of ‖A^k‖ over the "
                "steps k, or of ‖exp(tA)‖ over times t.",
            ),
            Term(
                "Marchenko-Pastur law",
                "How the squares of the singular values of a matrix of independent random entries are "
                "distributed. What lies outside is not explained by noise.",
                ("Marchenko-Pastur",),
            ),
            Term(
                "outlier",
                "A singular value above all that noise of the same shape and variance would have (in 99.9 % "
                "of all cases): a direction that training, or something else than chance, put there.",
                ("outliers",),
            ),
            Term(
                "Kolmogorov-Smirnov distance",
                "Largest difference between two distribution functions, from 0 (the same) to 1.",
                ("KS distance",),
            ),
            Term(
                "state Jacobian",
                "The matrix of derivatives of the next state by the present one: how small changes of the "
                "state are passed on by one step of the network as it runs, nonlinearity and gates included.",
                ("state Jacobians", "Jacobian"),
            ),
            Term(
                "gate",
                "A part of a GRU (r, z, n) or LSTM (i, f, g, o) cell with weights of its own, which decides "
                "what is kept, forgotten or let in. Gates do not act alone.",
                ("gates",),
            ),
            Term(
                "interval",
                "Two numbers between which the true value lies: some measures are found by a search and "
                "carry such a certificate; direct formulas are exact up to rounding.",
                ("intervals",),
            ),
            Term(
                "Lyapunov exponent",
                "Rate at which small differences of states grow (above 0) or shrink (below 0) along a "
                "trajectory, per step, as a natural logarithm.",
                ("Lyapunov exponents",),
            ),
            Term(
                "fixed point",
                "A state that a step of the network leaves as it is.",
                ("fixed points",),
            ),
            Term(
                "Lipschitz bound",
                "A factor by which differences of inputs can grow at most on their way to the outputs.",
                ("Lipschitz bounds", "Lipschitz constant"),
            ),
        ],
        key=lambda term: term.label.lower(),
    )
)

_TERM_OF = {form.lower(): term for term in TERMS for form in (term.label, *term.others)}
_LONGEST_FIRST = "|".join(map(re.escape, sorted(_TERM_OF, key=len, reverse=True)))
_ANY = re.compile(rf"(?<![\w.-])(?:{_LONGEST_FIRST})(?![\w-]|\.\w)", re.IGNORECASE)  # words, not dotted names


def linked(text: str) -> Markup:
    """Give a text as HTML in which each term leads to its definition, where it occurs first.

    Parameters
    ----------
    text : str
        Plain text; it is escaped.

    Returns
    -------
    Markup
        The text with links to the `anchor` of each `Term` in it.

    Examples
    --------
    >>> print(linked("a gate & its gates"))
    a <a class="term" href="#term-gate">gate</a> &amp; its gates
    """
    from markupsafe import Markup, escape

    return Markup("").join(
        Markup('<a class="term" href="#{}">{}</a>').format(term.anchor, part) if term else escape(part)
        for part, term in _parts(text)
    )


def _parts(text: str) -> Iterator[tuple[str, Term | None]]:
    seen, end = set(), 0
    for match in _ANY.finditer(text):
        term = _TERM_OF[match[0].lower()]
        if term not in seen:
            seen.add(term)
            yield text[end : match.start()], None
            yield match[0], term
            end = match.end()
    yield text[end:], None
