import numpy as np
import pandas as pd
import pytest

from rnn.measuring.measures import BASELINES
from rnn.study.findings import study_findings, study_limits, study_verdict
from rnn.study.statistics import rank_correlations

OUTCOME = "fooling_pgd_linf_0.1"
MEASURES = [*BASELINES, "jacobian_spectral_norm"]


def study(n=12, strength=0.0, baseline=0.0, spread=0.2, seed=0):
    """Give a study in which the last measure, or the baselines, go with the outcome."""
    rng = np.random.default_rng(seed)
    rows = []
    for cell in ("tanh", "gru", "lstm", "feedforward"):
        for number in range(n):
            x, b = rng.standard_normal(2)
            signal = (strength * x + baseline * b + 0.3 * rng.standard_normal()) / np.hypot(
                1, strength + baseline
            )
            rows.append(
                {
                    "cell": cell,
                    "seed": number,
                    "clean_accuracy": 0.96,
                    "clean_correct": 350,
                    "spectral_radius": 1.5 + 0.1 * b,
                    "spectral_norm": 2.5 + 0.1 * b + 0.01 * rng.standard_normal(),
                    "jacobian_spectral_norm": 2 + 0.1 * x,
                    "henrici_departure_relative": 0.6,
                    "pseudospectral_sensitivity": 1.4,
                    OUTCOME: float(np.clip(0.5 + spread * signal, 0, 1)),
                }
            )
    models = pd.DataFrame(rows)
    found = rank_correlations(models, measures=MEASURES, outcomes=[OUTCOME], baselines=BASELINES, draws=1000)
    return models, found


def said(models, correlations):
    return study_findings(models, correlations, outcome=OUTCOME, measures=MEASURES)


def verdict(correlations):
    return study_verdict(correlations, outcome=OUTCOME, measures=MEASURES)


def test_a_measure_that_beats_the_baselines_is_named():
    models, correlations = study(strength=1.0)
    assert "and 1 more closely than the mere size" in verdict(correlations)
    text = " ".join(said(models, correlations))
    assert 'that of "Jacobian: spectral norm" (the Jacobian is that of the state in recurrent' in text
    assert "; the Jacobian is that of the state in recurrent networks, of the input" in verdict(correlations)
    assert "1 of the other 1 measures correlate more strongly" in text


def test_baselines_that_explain_everything_are_not_beaten():
    models, correlations = study(baseline=1.0)
    assert "none is shown to do so more closely" in verdict(correlations)
    assert any(
        "None of the other 1 measures is shown to say more" in line for line in said(models, correlations)
    )


def test_no_relation_is_said_to_be_none():
    models, correlations = study(seed=4)
    assert verdict(correlations).startswith("No spectral measure is shown to go with attack success")
    assert any(line.endswith("leaves out 0 for none.") for line in said(models, correlations))


def test_numbers_in_the_sentences_are_those_of_the_tables():
    models, correlations = study(strength=1.0)
    lines = said(models, correlations)
    low, high = models[OUTCOME].min(), models[OUTCOME].max()
    assert "The attack (PGD, L∞ 0.1) fools them on" in lines[0]
    assert f"fools them on {100 * low:.0f}\u00a0% to {100 * high:.0f}\u00a0%" in lines[0]
    most = models.loc[models[OUTCOME].idxmax()]
    assert "among the 48 that classify at least 95\u00a0% correctly" in lines[1]
    assert f"seed {most['seed']}" in lines[1]
    assert "36 of the 36 trained recurrent matrices have a spectral radius above 1." in lines[2]
    rows = correlations[(correlations["block"] != "pooled") & correlations["spearman"].notna()]
    clear = ((rows["lower"] > 0) | (rows["upper"] < 0)).sum()
    assert f"{len(rows)} within families. {clear} of their 95 % intervals" in lines[-1]
    assert f"(Benjamini and Hochberg) {(rows['q'] < 0.05).sum()} remain" in lines[-1]


def test_outcomes_that_hardly_differ_are_pointed_out():
    models, correlations = study(spread=0.02)
    assert any(
        line.startswith("The fooling rates of the GRU networks hardly differ")
        and "mostly with noise and should not count for much, not even the strongest" in line
        for line in said(models, correlations)
    )
    models, correlations = study(spread=0.3)
    assert not any("hardly differ" in line for line in said(models, correlations))


def test_small_matrices_are_not_said_to_grow():
    models, correlations = study()
    models["spectral_radius"] = 0.5
    assert not any("spectral radius above 1" in line for line in said(models, correlations))


def test_too_few_models_are_said_to_be_too_few():
    models, correlations = study(n=2)
    assert (
        verdict(correlations) == "Too few networks to tell: correlations need at least five of each family."
    )
    assert any("too few models for correlations" in line for line in said(models, correlations))
    assert not any("told from 0" in line for line in study_limits(models, outcome=OUTCOME))


@pytest.mark.parametrize(("n", "critical"), [(5, "0.88"), (12, "0.58"), (30, "0.36")])
def test_limits_hold_the_critical_correlation_of_the_tables(n, critical):
    models, _ = study(n=n)
    text = " ".join(study_limits(models, outcome=OUTCOME))
    assert f"With {n} models a family" in text
    assert f"beyond about ±{critical}" in text  # published 5 % points: 0.878, 0.576, 0.361
