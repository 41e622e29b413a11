"""The page of a study: verdicts, figures, tables, what was run and how to repeat it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence

from rnn.pages.primer import examples
from rnn.pages.terms import linked
from rnn.report import Picture, Section, Table, check_tables, counted, prose, render_page
from rnn.study.claims import FAILS, HOLDS, PARTLY, UNDECIDED, Claim
from rnn.study.evidence import StudyStatistics
from rnn.study.study_columns import listed, study_label
from rnn.study.study_numbers import StudyFindings
from rnn.study.study_tables import (
    central_table,
    claim_table,
    failures_table,
    granulated_table,
    left_out_table,
    power_table,
    prediction_table,
    trials_table,
)
from rnn.study.study_terms import STUDY_TERMS
from rnn.study.study_words import PRIMER, attack_words, audit_words, finding_words, lead_words, notices
from rnn.study.summary import group_table, summary_table

_LEVELS = {
    HOLDS: ("pass", "✓"),
    FAILS: ("warning", "✗"),
    PARTLY: ("notice-level", "◐"),
    UNDECIDED: ("none", "?"),
}
_WORDED = ("Without a number", "Trials that failed")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class StudyPage:
    """What the page of a study is made of.

    Attributes
    ----------
    name, description, lead : str
        Of the study, and its outcome in a sentence.
    notices : sequence of str
        What is not as it should be.
    primer : sequence of str
        For readers who do not know the terms.
    claim_words : sequence of str
        How verdicts come about, or why there are none.
    claims : sequence of (Claim, Table)
        The verdicts with their numbers.
    findings : sequence of str
        What correlations there are.
    correlations : Section
        Their figures and tables.
    sections : sequence of Section
        All further parts.
    command, study : str
        What to type to repeat it, and the study as JSON.
    facts : sequence of (str, str)
        What was run, versions.
    """

    name: str
    description: str
    lead: str
    notices: Sequence[str]
    primer: Sequence[str]
    claim_words: Sequence[str]
    claims: Sequence[tuple[Claim, Table]]
    findings: Sequence[str]
    correlations: Section
    sections: Sequence[Section]
    command: str
    study: str
    facts: Sequence[tuple[str, str]]


def render_study(page: StudyPage) -> str:
    """Give a study as one HTML page that needs no other file and no network.

    Parameters
    ----------
    page : StudyPage
        The contents; every text is escaped.

    Returns
    -------
    str
        The page, to be written in UTF-8.

    Raises
    ------
    ValueError
        If a row of a table has not as many cells as the table has heads.
    """
    for section in (page.correlations, *page.sections):
        check_tables(section.tables)
    check_tables([table for _, table in page.claims])
    return render_page(
        "study.html.j2",
        contents=page,
        levels=_LEVELS,
        worded=_WORDED,
        linked=linked,
        examples=examples(),
        terms=STUDY_TERMS,
        digest=_digest,
    )


def study_page(
    found: StudyFindings,
    pictures: dict[str, Picture],
    *,
    command: str,
    study: str,
    facts: Sequence[tuple[str, str]],
) -> StudyPage:
    """Put the page of a study together.

    Parameters
    ----------
    found : StudyFindings
        The numbers.
    pictures : dict of str to Picture
        From `study_pictures`.
    command, study : str
        What to type to repeat it, and the study as JSON.
    facts : sequence of (str, str)
        What was run, versions.

    Returns
    -------
    StudyPage
        For `render_study`.
    """
    main, central = found.numbers.main, found.numbers.central
    names = ("forest.png", "gains.png", "scatter.png")
    return StudyPage(
        name=found.status.name,
        description=found.status.description,
        lead=lead_words(found.status, found.claims),
        notices=[*notices(found.status), *([found.only] if found.only else [])],
        primer=[prose(text) for text in PRIMER],
        claim_words=[_CLAIM_WORDS, *([found.unclaimed] if found.unclaimed else [])],
        claims=[(claim, claim_table(claim)) for claim in found.claims],
        findings=[found.numbers.reason] if main is None else finding_words(central, main, found.outcomes),
        correlations=Section(
            "Measures and robustness",
            [],
            [] if main is None else [central_table(central, outcome) for outcome in found.outcomes],
            [pictures[name] for name in names if name in pictures],
        ),
        sections=_sections(found, pictures, main),
        command=command,
        study=study,
        facts=facts,
    )


_CLAIM_WORDS = prose("""
    The claims are those of the abstract of Sengupta and Friston, "How Robust are Deep Neural Networks?"
    (2018). Their networks and data are not known, so this is a test of the ideas, not a repetition. The
    limits were set before any result was seen: accurate is at least 95 % of the best accuracy on the task;
    not robust, that the attacks turn at least half of the right answers at the middle budget; stable, that
    the largest Lyapunov exponent is negative and that the worst kick has shrunk by the end of the sequence.
    A part of a claim counts as shown or refuted only where its whole interval lies on one side.
    Which networks take part, and how intervals are taken, was put right when the first networks of the
    study that ships with the package were there: the docstring of rnn.study.claims says why, the results of
    that study say what it changed.
""")


def _sections(
    found: StudyFindings, pictures: dict[str, Picture], main: StudyStatistics | None
) -> list[Section]:
    sections = []
    groups = group_table(found.rows)
    if len(groups) > 1:
        sections.append(Section("What became of the networks", [], [summary_table(groups)]))
    for name in ("triangle.png", "along_training.png"):
        if name in pictures:
            text = _curve_words(found) if name == "along_training.png" else []
            sections.append(Section(pictures[name].title, text, [], [pictures[name]]))
    if main is not None:
        outcome = found.outcomes[0]
        deeper = [prediction_table(main, outcome), granulated_table(main, outcome), power_table(main)]
        sections.append(Section("Prediction, pairs and power", [], [table for table in deeper if table.rows]))
    sections.append(Section("What was run", _run_words(found), [trials_table(found.status)]))
    left_out = [left_out_table(main)] if main is not None and len(main.left_out) else []
    failed = [failures_table(found.status.failures)] if found.status.failures else []
    gone = [f"{task}: {reason}" for task, reason in found.status.missing]
    if left_out or failed or gone:
        sections.append(Section("What is missing", gone, [*failed, *left_out]))
    sections.append(Section("How to read the numbers, and what they cannot show", _method_words(found, main)))
    return sections


def _curve_words(found: StudyFindings) -> list[str]:
    if not found.missing:
        return []
    verb = "has" if found.missing == 1 else "have"
    return [f"{counted(found.missing, 'network')} {verb} no curves that can be read."]


def _run_words(found: StudyFindings) -> list[str]:
    rows = found.rows
    attacked = any(str(name).startswith("fooling_") for name in rows)  # not by a function of one's own
    if not attacked or not {"methods", "budgets", "examples"} <= set(rows):
        return []
    return [attack_words(rows), *audit_words(rows)]


def _method_words(found: StudyFindings, main: StudyStatistics | None) -> list[str]:
    words = []
    if main is not None:
        words += [
            prose(f"""
                Correlations are taken within blocks and pooled by random effects (Hartung and Knapp): the
                interval of a pooled value is about blocks like these, and with few blocks it is wide. The
                p-value asks less: whether there is anything in these very blocks; it comes from permuting
                whole configurations ({main.permutations} permutations). So p may be small where the
                interval holds 0. Configurations that share a training, because they differ only in what was
                done to it afterwards, are exchanged with each other only, and all others among themselves.
            """),
            prose(f"""
                Intervals of gains and within blocks are bootstrap intervals ({main.draws} resamples of whole
                configurations). Networks of one seed share their data and initial weights, and with a
                normalisation after training the training as well; the column "by seed" shows what is left of
                a gain if they are taken to belong together.
            """),
        ]
    outcomes = listed([study_label(name) for name in found.outcomes])
    words += [
        prose(f"""
            The outcomes ({outcomes}), the measures and the baselines were chosen before any result was seen.
            All other outcomes are in the tables beside this page, corrected as a family of their own.
        """),
        prose("""
            A correlation is no cause. The networks are small, the tasks few. An attack that fails proves
            nothing: fooling rates are at least what stands here. Fooling rates are taken among right answers
            only, because otherwise they would follow accuracy by construction.
        """),
    ]
    return words


def _digest(script: str) -> str:
    """Give the hash by which a page allows its own script, and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode('ascii')}"
