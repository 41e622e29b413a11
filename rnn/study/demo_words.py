"""What the page of the demo says besides its findings: what was done, how to read it, what words mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rnn.figures import CELL_LABELS
from rnn.measuring.measures import EPSILON, STUDIED, column_label
from rnn.report import prose

if TYPE_CHECKING:
    import pandas as pd


def method_words(models: pd.DataFrame, *, outcome: str) -> list[str]:
    """Say what was done.

    Parameters
    ----------
    models : DataFrame
        The networks of the demo.
    outcome : str
        The fooling rate that the page is about.

    Returns
    -------
    list of str
        Paragraphs.
    """
    counts = models["cell"].value_counts(sort=False).to_dict()
    families = ", ".join(f"{count} {CELL_LABELS.get(str(cell), cell)}" for cell, count in counts.items())
    epochs, examples = models["epochs"].max(), models["test_examples"].max()
    return [
        prose(f"""
            {len(models)} networks ({families}) were trained to tell scikit-learn's handwritten digits
            apart. The recurrent ones read an image as 8 rows of 8 pixels, one row a step; the feed-forward
            ones see it at once. Within each family the seed and the scale of the initial matrix vary, so
            that the spectra differ: the initial spectral radius is about {models["gain"].min():g} to
            {models["gain"].max():g}. Training took {epochs} passes over the data.
        """),
        prose(f"""
            Each network was attacked on {examples} test images that it had not seen in training, by one
            step along the gradient (FGSM) and by repeated projected steps (PGD). The budget limits the
            change of an image: of every pixel (L∞; pixels run from 0 to 1) or of all together (L2). The
            fooling rate counts only images that were classified correctly before, so that it does not
            follow from the accuracy. The sentences and figures here are about one attack, chosen
            beforehand: {column_label(outcome).removeprefix("fooling rate, ")}. correlations.csv has the
            others.
        """),
        prose("""
            Spectral measures were taken of the trained matrix and of the Jacobian. Spearman's rank
            correlation tells whether one number rises or falls with another, from -1 to 1; its interval
            comes from resampling the networks. Networks are compared within their family only; the "mean
            of families" is the average of these correlations over the families that have one.
        """),
    ]


def portrait_words(families: Iterable[str], levels: Sequence[float]) -> tuple[str, str]:
    """Say how to read the pseudospectra, and what they show to those who do not see them.

    Parameters
    ----------
    families : iterable of str
        Whose matrices are drawn.
    levels : sequence of float
        The levels of the contours.

    Returns
    -------
    caption, alt : str
        The two texts.
    """
    named = ", ".join(f"{level:g}" for level in levels)
    caption = prose(f"""
        The trained matrix of one network of each family, that of initial scale nearest to 1: the recurrent
        matrix (tanh), that of the candidate gate (GRU, LSTM), the square hidden layer (feed-forward). Dots:
        eigenvalues. The contours at {named} enclose what eigenvalues can reach when the matrix is
        changed by one of that norm; for a normal matrix they would be circles of that radius about the
        eigenvalues. Dashed: the unit circle, inside which repeated steps shrink.
    """)
    alt = prose(f"""
        Eigenvalues and pseudospectra at levels {named} of trained matrices ({", ".join(families)}) in the
        complex plane, with the unit circle.
    """)
    return caption, alt


def success_words(outcome: str, measures: Iterable[str]) -> tuple[str, str]:
    """Say how to read the scatter plots, and what they show to those who do not see them.

    Parameters
    ----------
    outcome : str
        The fooling rate.
    measures : iterable of str
        What it is drawn against.

    Returns
    -------
    caption, alt : str
        The two texts.
    """
    label = column_label(outcome)
    caption = prose(f"""
        Each point is one network; upwards the {label}, with its 95 % interval from the number of test
        images (Wilson). Above each panel Spearman's rank correlation within families, averaged over them
        (not one over all points), with its 95 % bootstrap interval.
    """)
    alt = prose(f"""
        Scatter plots of {", ".join(map(column_label, measures))} against the {label}, one point per
        network, coloured by family; the correlations are in the table below.
    """)
    return caption, alt


def correlation_words(outcome: str) -> tuple[str, str]:
    """Say how to read the plot of all correlations, and what it shows to those who do not see it.

    Parameters
    ----------
    outcome : str
        The fooling rate.

    Returns
    -------
    caption, alt : str
        The two texts.
    """
    label = column_label(outcome)
    caption = prose(f"""
        Spearman's rank correlation of each measure with the {label}, with 95 % bootstrap intervals. Filled:
        the interval leaves out 0; among so many, some do so by chance. A dash: no correlation, because the
        measure does not exist or does not vary there; the mean is then over the other families. The
        Jacobian is that of the state at the mean test state; for the feed-forward networks it is that of
        the input, which is rectangular and has only norms.
    """)
    alt = f"Rank correlations of all measures with the {label}, mean and by family, as in the table below."
    return caption, alt


def glossary() -> list[tuple[str, str]]:
    """Give the terms of the page and what they mean.

    Returns
    -------
    list of (str, str)
        General terms, then the measures.
    """
    spectrum = """
        The numbers by which a matrix only stretches some direction are its eigenvalues; all together, its
        spectrum. They tell what happens after many steps.
    """
    normal = """
        A matrix is normal if its eigenvectors are orthogonal. A non-normal one can first stretch a vector
        far more than its eigenvalues say, and its eigenvalues can move far under small changes.
    """
    pseudospectrum = f"""
        All points that an eigenvalue can reach when the matrix is changed by one of norm at most ε. The
        measures below that need a level use ε = {EPSILON:g}.
    """
    jacobian = """
        The matrix that tells how a small change of the state is carried through one step (for the
        feed-forward networks: how a small change of the input is carried to the output).
    """
    return [
        ("eigenvalue, spectrum", prose(spectrum)),
        ("normal, non-normal", prose(normal)),
        ("ε-pseudospectrum", prose(pseudospectrum)),
        ("Jacobian", prose(jacobian)),
        *((measure.label, measure.definition) for measure in STUDIED),
    ]
