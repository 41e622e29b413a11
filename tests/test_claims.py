"""Verdicts follow the numbers: planted claims are found, their opposites refuted, noise left undecided."""

import numpy as np
import pandas as pd
import pytest

from rnn.study.claims import _verdict, claims
from rnn.study.criteria import accurate

KINDS = ("none", "radius", "radius-during", "norm")
KNOWN = ("clean_accuracy", "fooling_reference", "lyapunov_exponent", "kick_end_worst")
MEASURES = ("henrici_departure_relative", "eigenvector_condition_number", "kreiss_constant_scaled")


def study(
    *, fooled: float = 0.8, lyapunov: float = 0.1, made: float = -0.2, rise: float = 0.1
) -> pd.DataFrame:
    """A made-up study: `fooled` and `lyapunov` of all, `made` where normalised, `rise` by training."""
    random, rows = np.random.default_rng(0), []
    for task in ("digits", "mnist"):
        for cell in ("tanh", "gru"):
            for seed in range(12):
                start = {f"initial_{name}": 10 ** random.uniform(0.1, 0.3) for name in MEASURES}
                for kind in KINDS:
                    rate = lyapunov if kind == "none" else made
                    row = {"task": task, "cell": cell, "seed": seed, "normalisation": kind}
                    row |= {"clean_accuracy": 0.95 + random.uniform(0, 0.01), "lyapunov_exponent": rate}
                    row |= {
                        "kick_end_worst": 10**rate,
                        "fooling_reference": fooled + random.uniform(-0.1, 0.1),
                    }
                    row |= {"target": 0.0 if kind == "none" else 1.0, "spectral_radius": 1.0} | start
                    rows.append(row | {name: start[f"initial_{name}"] * 10**rise for name in MEASURES})
    return pd.DataFrame(rows)


def verdicts(rows: pd.DataFrame) -> list[str]:
    return [claim.verdict for claim in claims(rows)]


def test_planted_claims_hold() -> None:
    assert verdicts(study()) == ["holds", "holds", "holds"]


def test_their_opposites_fail() -> None:
    rows = study(fooled=0.2, lyapunov=-0.1, made=0.2, rise=-0.1)
    assert verdicts(rows) == ["fails", "fails", "fails"]


def test_one_half_is_not_the_whole() -> None:
    assert verdicts(study(lyapunov=-0.1, rise=0.1))[:2] == ["holds in part", "holds"]
    assert verdicts(study(fooled=0.2))[:2] == ["holds in part", "holds in part"]


@pytest.mark.parametrize(
    ("sides", "verdict"),
    [
        ([], "undecided"),
        ([0, 0], "undecided"),
        ([1, 1], "holds"),
        ([1, 0], "holds in part"),
        ([1, -1], "holds in part"),
        ([-1, 0, 0], "fails"),
        ([-1, -1], "fails"),
    ],
)
def test_verdicts_on_parts(sides: list[int], verdict: str) -> None:
    assert _verdict(sides) == verdict


def test_pairs_do_not_mind_audits_and_several_targets() -> None:
    rows = study().assign(audited=lambda rows: np.arange(len(rows)) % 3 == 0)
    wider = rows[rows["normalisation"] == "radius"].assign(target=2.0)
    two = claims(pd.concat([rows, wider], ignore_index=True))[1].table.set_index("normalisation")
    assert two.loc["radius", "n"] == 96
    assert two.loc["norm", "n"] == 48


def test_noise_is_undecided() -> None:
    rows = study(fooled=0.5)
    coin = np.random.default_rng(1).integers(2, size=len(rows))
    rows["lyapunov_exponent"] = np.where(coin, 0.1, -0.1)
    rows["kick_end_worst"] = 0.5
    even = np.arange(len(rows)) // 4 % 2  # the four kinds of a seed alike
    rows["fooling_reference"] = np.where(even, 0.7, 0.3)
    for name in MEASURES:
        rows[name] = rows[f"initial_{name}"] * 10 ** (0.2 * even - 0.1)
    one, _, three = claims(rows)
    assert (one.verdict, three.verdict) == ("holds", "undecided")  # many are accurate and fooled
    assert "that most accurate networks are not robust is open (" in one.words[1]
    most = (one.table["not_stable"].iloc[:-1] > 0.5).sum()
    assert one.words[1].endswith(f", that most are not stable open ({most} of 4 blocks).")


def test_a_few_networks_without_a_counterexample_refute_nothing() -> None:
    rows = study(fooled=0.2)
    rows["lyapunov_exponent"], rows["kick_end_worst"] = -0.1, 0.5
    assert claims(rows)[0].verdict == "fails"
    assert claims(rows[rows["seed"] < 1])[0].verdict == "undecided"


def test_the_numbers_are_those_of_the_table() -> None:
    rows = study()
    one, two, three = claims(rows)
    plain = rows[rows["normalisation"] == "none"]
    last = one.table.iloc[-1]
    assert last["n"] == 48 == len(plain[accurate(plain)])
    assert last["not_robust"] == (plain["fooling_reference"] >= 0.5).mean()
    assert len(one.table) == 5
    radius = two.table.set_index("normalisation").loc["radius"]
    change = (
        rows[rows["normalisation"] == "radius"]["fooling_reference"].to_numpy()
        - plain["fooling_reference"].to_numpy()
    )
    assert radius["fooling_reference_change"] == pytest.approx(change.mean())  # blocks of one size
    assert radius["fooling_reference_change_lower"] < change.mean() < radius["fooling_reference_change_upper"]
    assert three.table["change"].tolist() == pytest.approx([three.table["change"][0], 0.1, 0.1])
    assert "0 at the start, 0 at the end" in three.words[-2]


def test_the_norm_takes_no_part_in_the_verdict_on_the_spectrum() -> None:
    rows = study()
    norm = rows["normalisation"] == "norm"
    rows.loc[norm, "lyapunov_exponent"] = 0.5
    assert verdicts(rows)[1] == "holds"
    assert any(words.startswith("With norm: of 48 networks 0%") for words in claims(rows)[1].words)


def test_without_normalisations_or_accurate_networks_nothing_is_decided() -> None:
    rows = study()
    assert verdicts(rows[rows["normalisation"] == "none"])[1] == "undecided"
    assert verdicts(rows[rows["normalisation"] == "norm"])[0] == "undecided"


def test_missing_columns_are_refused() -> None:
    rows = study()
    with pytest.raises(ValueError, match="lacks the columns kick_end_worst"):
        claims(rows.drop(columns="kick_end_worst"))


def test_the_words_say_which_part_is_what() -> None:
    one, two, _ = claims(study(fooled=0.2))
    assert one.words[-1] == "Part by part, shown: accurate and not stable; refuted: accurate and not robust."
    assert two.words[-1].startswith("Part by part, shown: stable with radius, stable with radius-during; ref")
    assert "open" not in two.words[-1]


def test_what_missed_the_disc_decides_nothing_and_is_said() -> None:
    rows = study()
    radius = rows["normalisation"] == "radius"
    rows.loc[radius, "normalised_radius"] = np.where(rows["seed"][radius] < 6, 5.0, 1.0)  # of another gate
    rows.loc[radius & (rows["seed"] < 6), "lyapunov_exponent"] = 0.5
    two = claims(rows)[1]
    line = two.table.set_index("normalisation").loc["radius"]
    assert (line["n"], line["stable"], two.verdict) == (24, 1.0, "holds")
    assert any(
        "24 networks with radius missed the unit disc (spectral radius up to 5)" in w for w in two.words
    )
    rows.loc[radius, "normalised_radius"] = 5.0
    assert "radius" not in set(claims(rows)[1].table["normalisation"])


def test_beside_the_stable_stands_how_many_were_and_how_many_are_still_accurate() -> None:
    rows = study()
    radius = rows["normalisation"] == "radius"
    rows.loc[radius & (rows["seed"] < 9), "clean_accuracy"] = 0.2
    rows.loc[radius & (rows["seed"] == 11), "fooling_reference"] = 0.1
    line = claims(rows)[1].table.set_index("normalisation").loc["radius"]
    assert (line["stable_before"], line["stable"], line["not_robust_before"]) == (0.0, 1.0, 1.0)
    assert (line["accurate"], line["accurate_not_robust"]) == (12, 8)
    assert line["both"] == line["not_robust"] == 44 / 48


def test_a_normal_start_decides_nothing() -> None:
    rows = study(rise=-0.1)
    orthogonal = rows.assign(gain=2.0).copy()
    for name in MEASURES:
        orthogonal[f"initial_{name}"], orthogonal[name] = 1.0, 5.0
    orthogonal["initial_henrici_departure_relative"] = 1e-4
    three = claims(pd.concat([rows.assign(gain=1.0), orthogonal], ignore_index=True))[2]
    assert three.verdict == "fails"
    assert (three.table.groupby("start")["n"].unique().map(list)).to_dict() == {"normal": [48], "other": [48]}
    assert sum("From a normal matrix, where it can only rise" in words for words in three.words) == 3


def test_unknown_numbers_are_neither_bad_nor_good() -> None:
    whole = study()
    first = whole["seed"] < 4
    for name in KNOWN:
        holed = whole.assign(**{name: whole[name].mask(first)})
        for found, expected in zip(claims(holed)[:2], claims(whole[~first])[:2], strict=True):
            pd.testing.assert_frame_equal(found.table, expected.table)
            assert found.words[:-1] == expected.words
            assert found.words[-1].startswith("64 networks without a number of")
    assert verdicts(whole.assign(lyapunov_exponent=np.nan))[:2] == ["undecided", "undecided"]
    infinite = whole.assign(eigenvector_condition_number=np.inf)
    three = claims(infinite)[2]
    assert any("48 networks, infinite, are left out" in words for words in three.words)
    assert "0 at the start, 48 at the end" in " ".join(three.words)


def test_one_seed_decides_nothing_about_changes() -> None:
    rows = study()
    _, two, three = claims(rows[rows["seed"] == 0])
    assert three.verdict == "undecided"
    assert "(no interval: one seed)" in two.words[0]
    assert np.isnan(two.table["fooling_reference_change_lower"]).all()
