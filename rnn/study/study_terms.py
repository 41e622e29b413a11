"""What the words of a study's report mean."""

from __future__ import annotations

from rnn.pages.terms import TERMS, Term

_NOT_HERE = {
    "distance from the Marchenko-Pastur law",
    "fixed point",
    "interval",  # there the certificate of a measure
    "Kolmogorov-Smirnov distance",
    "Lipschitz bound",
    "Marchenko-Pastur law",
    "outlier",
    "singular value outliers",
}
_OWN_TERMS = (
    Term("block", "The networks of one task and one cell: only they are compared with each other."),
    Term(
        "cell",
        "The kind of network: how state and input become the next state; such as tanh, GRU or LSTM.",
    ),
    Term(
        "fooling rate",
        "Share of the examples that a network answers rightly which an attack turns within its budget. The "
        "attacks search: what they turn is proven, what they do not turn may still be turned by others.",
    ),
    Term("gain", "How much stronger a correlation is than that of the better of spectral radius and norm."),
    Term(
        "Holm's correction",
        "Makes p-values larger according to how many were looked at, so that the chance of even one false "
        "find among all of them stays below 5 %.",
    ),
    Term(
        "I²",
        "Share of the differences between blocks that chance within them does not explain.",
    ),
    Term("kick", "A small change of the state, along a random direction or the one that grows most."),
    Term(
        "normalisation",
        "The recurrent matrix scaled to a spectral radius or norm, after training or during it.",
    ),
    Term(
        "p-value",
        "How often so strong a correlation comes out where outcomes are dealt out at random.",
    ),
    Term(
        "partial correlation",
        "The rank correlation that is left when a straight line in the ranks of clean accuracy is taken out.",
    ),
    Term(
        "slope over margin",
        "Slope of the output over its margin: a linear network would be turned by a change of about the "
        "inverse.",
    ),
    Term(
        "interval",
        "Where the true value should lie in 95 of 100 such studies; for gains and within a block by "
        "resampling configurations, for a pooled value from the differences between blocks.",
    ),
    Term("margin of the output", "By how much the right answer leads, in the median."),
    Term("slope of the output", "Median of the spectral norm of the Jacobian from the input to the logits."),
    Term(
        "growth along trajectories",
        "Norm of the product of the state Jacobians of a sequence, as a mean of logarithms to base 10.",
    ),
    Term(
        "Kreiss constant, scaled",
        "The Kreiss constant of the matrix scaled to a spectral radius of 0.95: "
        "finite for every matrix, and a measure of non-normality alone.",
    ),
)

STUDY_TERMS = tuple(
    sorted(
        [*(term for term in TERMS if term.label not in _NOT_HERE), *_OWN_TERMS],
        key=lambda term: term.label.lower(),
    )
)
