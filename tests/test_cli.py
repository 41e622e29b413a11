"""The command `spectra`: what it prints, what it writes, how it refuses, and how it ends."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rnn import cli
from rnn.extra import advice
from spectra import Pseudospectrum, __version__, henrici_departure
from spectra.gallery import grcar

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "from rnn.cli import main; main()"
VERBS = ("demo", "pseudospectrum", "diagnose", "train", "attack", "universal", "perturb", "kicks")


def start(*arguments: object, before: str = "") -> subprocess.Popen[str]:
    """Run the command as a user would, in a process of its own."""
    command = [sys.executable, "-c", before + COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=120)
    return process.returncode, out, without_progress(error)


def marked(module: str, name: str) -> str:
    """Python that makes a function say "ready" when it is called."""
    return (
        f"import sys\nimport {module} as room\nplain = room.{name}\n"
        "def marked(*arguments, **options):\n"
        "    print('ready', flush=True, file=sys.__stdout__)\n    return plain(*arguments, **options)\n"
        f"room.{name} = marked\n"
    )


def interrupted(process: subprocess.Popen[str], after: float = 0.3) -> tuple[float, str, str]:
    """Interrupt a command some time after it says "ready"; give the seconds to its end, and its output."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    return time.monotonic() - begun, out, without_progress(error)


def without_progress(error: str) -> str:
    """The stderr of a command but for the lines that a slow machine gets to see."""
    return re.sub(r"(?m)^[\w ]+: \d+ of \d+, \d+ s\n", "", error)


class Here:
    """The command in this process, which is faster: everything but the supervision."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Give exit code, stdout and stderr."""
        self.monkeypatch.setattr(sys, "argv", ["spectra", *map(str, arguments)])
        self.capsys.readouterr()
        code = cli._run()
        out, error = self.capsys.readouterr()
        return code, out, without_progress(error)

    def refusal(self, *arguments: object) -> str:
        """Give the one line that says why the arguments are refused."""
        code, out, error = self(*arguments)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"error: .+\n", error), error
        return error


@pytest.fixture
def spectra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("matrix") / "grcar.npy"
    np.save(path, grcar(32))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.pt"
    code, _, error = finished(start("train", "--cell", "gru", "--hidden", 8, "--epochs", 3, "--out", path))
    assert (code, error) == (0, "")
    return path


def test_version_and_help_are_fast_and_complete(spectra: Here) -> None:
    assert spectra("--version") == (0, f"spectra-rnn {__version__}\n", "")
    for arguments in ((), ("--help",), ("-h",)):
        code, out, error = spectra(*arguments)
        assert (code, error) == (0, "")
        for verb in VERBS:
            assert re.search(rf"\b{verb}\b", out)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_loads_nothing_heavy(verb: str) -> None:
    check = (
        "import atexit, sys\n"
        "heavy = {'numpy', 'torch', 'numba', 'matplotlib', 'pandas', 'sklearn'}\n"
        "atexit.register(lambda: print('loaded:', *sorted(heavy & set(sys.modules))))\n"
    )
    code, out, error = finished(start(verb, "--help", before=check))
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == "loaded:"


def test_pseudospectrum_prints_values_with_intervals(spectra: Here, matrix: Path) -> None:
    code, out, error = spectra("pseudospectrum", matrix, "--epsilons", "1e-4,0.01", "--shape", "20,30")
    assert (code, error) == (0, "")
    line = next(line for line in out.splitlines() if "epsilon 0.0001" in line)
    value, lower, upper = (float(number) for number in re.findall(r"\d\.\d{6,}", line))
    assert lower <= value <= upper
    departure = next(line for line in out.splitlines() if "Henrici" in line)
    assert float(departure.split()[-1]) == pytest.approx(henrici_departure(grcar(32)), rel=1e-11)
    assert "20 x 30 grid" in out


def test_pseudospectrum_writes_where_it_is_told_to(spectra: Here, matrix: Path, tmp_path: Path) -> None:
    grid, figure = tmp_path / "grid.npz", tmp_path / "figure.png"
    options = ("--region", "-1,3,-3,3", "--shape", "10,12", "--out", grid, "--figure", figure)
    code, out, error = spectra("pseudospectrum", matrix, *options)
    assert (code, error) == (0, "")
    result = Pseudospectrum.load(grid)
    assert result.sigma_min.shape == (10, 12)
    assert (result.x[0], result.x[-1], result.y[0], result.y[-1]) == (-1, 3, -3, 3)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "grid.npz"]
    assert str(grid) in out
    assert str(figure) in out


def test_dry_run_only_tells_the_cost(spectra: Here, matrix: Path, tmp_path: Path) -> None:
    code, out, _ = spectra("pseudospectrum", matrix, "--dry-run", "--out", tmp_path / "grid.npz")
    assert code == 0
    assert "GiB" in out
    assert "spectral radius" not in out
    assert not (tmp_path / "grid.npz").exists()


def test_a_device_may_be_named_or_is_refused(spectra: Here, matrix: Path) -> None:
    assert spectra("pseudospectrum", matrix, "--shape", "5,5", "--device", "cpu")[0] == 0
    code, _, error = spectra("pseudospectrum", matrix, "--device", "abacus")
    assert code == 2
    assert "leave device out" in error


def test_the_precision_of_the_file_is_told(spectra: Here, tmp_path: Path) -> None:
    np.save(tmp_path / "narrow.npy", np.float32(0.1) * grcar(6).astype(np.float32))
    assert "floor by storage in float32" in spectra("pseudospectrum", tmp_path / "narrow.npy")[1]


def test_pseudospectrum_leaves_nothing_behind_unasked(spectra: Here, matrix: Path) -> None:
    assert spectra("pseudospectrum", matrix, "--shape", "4,4")[0] == 0
    assert [path.name for path in matrix.parent.iterdir()] == ["grcar.npy"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilons", "-1"), "epsilons is -1"),
        (("--epsilons", "0.1,"), "--epsilons is '0.1,'; expected numbers"),
        (("--epsilons", "nan"), "epsilons is nan"),
        (("--region", "1,0,0,1"), "expected xmin < xmax"),
        (("--region", "0,1"), "region has 2 numbers"),
        (("--shape", "10"), "shape has 1 entries"),
        (("--shape", "10,x"), "--shape is '10,x'; expected whole numbers"),
        (("--shape", "1,1"), "shape is 1; expected at least 2"),
        (("--rtol", "0"), "rtol is 0"),
        (("--threads", "0"), "threads is 0"),
        (("--out", "/no/such/folder/grid.npz"), "--out is /no/such/folder/grid.npz, but there is no folder"),
        (("--out", "."), "--out is ., which is a folder"),
        (("--figure", "figure.gif"), "--figure is figure.gif; expected a name that ends in .png"),
        (("--colour", "red"), "No such option: --colour"),
    ],
)
def test_pseudospectrum_refuses_bad_options(
    spectra: Here, matrix: Path, options: tuple[str, str], words: str
) -> None:
    assert words in spectra.refusal("pseudospectrum", matrix, *options)


def test_pseudospectrum_refuses_bad_files(spectra: Here, tmp_path: Path, matrix: Path) -> None:
    assert "FILE.npy" in spectra.refusal("pseudospectrum", tmp_path / "none.npy")
    assert "FILE.npy" in spectra.refusal("pseudospectrum", tmp_path)
    short = tmp_path / "short.npy"
    short.write_bytes(matrix.read_bytes()[:-3])
    assert "short.npy is no readable .npy file" in spectra.refusal("pseudospectrum", short)
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((2, 3)))
    assert "wide.npy has shape (2, 3); expected a square matrix" in spectra.refusal("pseudospectrum", wide)


def test_ctrl_c_inside_a_kernel(tmp_path: Path) -> None:
    """At this order the Schur factorisation alone takes many seconds, and no thread gets a turn."""
    big = tmp_path / "big.npy"
    np.save(big, np.random.default_rng(0).standard_normal((2000, 2000)))
    process = start(
        "pseudospectrum", big, "--out", tmp_path / "grid.npz", before=marked("spectra.schur", "schur_form")
    )
    seconds, out, error = interrupted(process)
    assert seconds < 1
    assert (process.returncode, out, error) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == [big]


def test_a_closed_pipe_is_no_error(matrix: Path) -> None:
    with start("pseudospectrum", matrix, "--shape", "4,4") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert without_progress(process.stderr.read()) == ""
        assert process.wait(timeout=60) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_told(matrix: Path) -> None:
    line = f"{sys.executable} -c '{COMMAND}' pseudospectrum {matrix} --shape 3,3 > /dev/full"
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    words = "error: the output cannot be written (No space left on device); check where it goes\n"
    assert without_progress(done.stderr) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("quake",), "No such command 'quake'; see spectra --help"),
        (("train",), "Missing option '--out'; see spectra train --help"),
        (("train", "--out", "m.pt", "--hidden", "many"), "Invalid value for '--hidden'"),
        (("train", "--out", "m.pt", "--threads", "0"), "Invalid value for '--threads'"),
        (("train", "--out", "m.pt", "--hidden", "0"), "hidden is 0; expected at least 1"),
        (("train", "--out", "m.pt", "--cell", "brain"), "cell is 'brain'; expected one of 'tanh'"),
        (("train", "--out", "m.pt", "--task", "chess"), "name is 'chess'; expected one of"),
        (("train", "--out", "m.pt", "--gain", "-1"), "gain is -1.0; expected a number > 0"),
    ],
)
def test_usage_errors_are_one_line(spectra: Here, arguments: tuple[str, ...], words: str) -> None:
    assert words in spectra.refusal(*arguments)
    assert not (ROOT / "m.pt").exists()


@pytest.mark.parametrize("package", ["torch", "pandas", "jinja2", "sklearn"])
def test_a_verb_that_needs_the_extra_says_so(
    spectra: Here, package: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    line = f"error: {advice('this verb', [package])}\n"
    out = tmp_path / "out"
    for arguments in (
        ("train", "--out", out),
        ("demo", "--out", out),
        ("diagnose", model),
        ("attack", model),
        ("universal", model),
        ("perturb", model),
        ("kicks", model),
    ):
        assert spectra.refusal(*arguments) == line
    assert not out.exists()


def test_train_gives_the_same_checkpoint_for_the_same_seed(
    spectra: Here, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from rnn.training import load_checkpoint

    threads: list[int] = []

    again = tmp_path / "again.pt"
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    code, out, error = spectra("train", "--cell", "gru", "--hidden", 8, "--epochs", 3, "--out", again)
    assert (code, error) == (0, "")
    assert threads == [1]
    assert str(again) in out
    first, second = load_checkpoint(model), load_checkpoint(again)
    assert first.model.config.hidden == 8
    assert len(first.record.losses) == 3
    for name, tensor in first.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), second.model.state_dict()[name].numpy())


def test_attack_prints_what_the_harness_finds(spectra: Here, model: Path) -> None:
    from rnn.harness import attack
    from rnn.tasks import load_task
    from rnn.training import load_checkpoint

    options = ("--method", "fgsm", "--norm", "linf", "--budget", "0,0.1")
    code, out, error = spectra("attack", model, *options, "--json", "-")
    assert (code, error) == (0, "")
    content = json.loads(out)
    assert (content["tolerance"], content["wrong_share"]) == (None, 0)
    clean, attacked = content["rows"]
    task = load_task("digits")
    trained = load_checkpoint(model).model
    found = attack(
        trained, task.x_test, task.y_test, method="fgsm", norm="linf", budget=0.1, bounds=task.bounds
    )
    assert clean["fooled"] == 0
    assert clean["robust_accuracy"] == found.clean_accuracy == content["clean_accuracy"]
    assert attacked["fooled"] == found.fooled.sum() > 0
    assert attacked["robust_accuracy"] == (~found.success).mean()
    assert (attacked["method"], attacked["norm"], attacked["budget"]) == ("fgsm", "linf", 0.1)
    assert (content["network"], content["data"]) == (model.name, "the test set of digits")
    assert content["bounds"] == [0.0, 1.0]

    code, table, error = spectra("attack", model, *options)
    assert (code, error) == (0, "")
    assert f"{found.fooling_rate:.4g}" in table
    assert f"{attacked['lower']:.3f} .. {attacked['upper']:.3f}" in table
    assert f"{found.clean_correct.sum()} of 360 correct when clean" in table


@pytest.mark.parametrize("told", ["count=2", "frames-dropped.count=2"])
def test_corruptions_take_how_many_frames_as_an_option(spectra: Here, model: Path, told: str) -> None:
    options = ("--method", "frames-dropped", "--budget", "0,100", "--examples", 20)
    code, out, error = spectra("attack", model, *options, "--option", told, "--json", "-")
    assert code == 0, error
    content = json.loads(out)
    assert content["methods"] == {"frames-dropped": {"count": 2}}
    assert content["rows"][1]["robust_accuracy"] <= content["rows"][0]["robust_accuracy"]
    refusal = spectra.refusal("attack", model, *options, "--option", told.replace("count", "frames"))
    assert "frames" in refusal


def test_attack_by_several_methods_with_proof_and_files(spectra: Here, model: Path, tmp_path: Path) -> None:
    from rnn.attacking.bracket_verdicts import RobustnessBracket

    files = {"--json": tmp_path / "a.json", "--out": tmp_path / "a.npz", "--plot": tmp_path / "a.png"}
    told = [text for option in files.items() for text in option]
    options = ("--method", "fgsm, pgd", "--budget", "0.004,0.1", "--option", "pgd.steps=2", "--certify")
    code, out, error = spectra("attack", model, *options, "--examples", 20, *told)
    assert code == 0, error
    assert not [line for line in error.splitlines() if not line.startswith("warning: ")]
    content = json.loads(files["--json"].read_text("utf-8"))
    assert [row["method"] for row in content["rows"]] == [
        name for name in ("fgsm", "pgd", "all together") for _ in "12"
    ]
    for row in content["rows"]:
        assert row["certified_accuracy"] <= row["robust_accuracy"]
        assert row["examples"] == 20
    assert any(row["certified_accuracy"] > 0 for row in content["rows"])
    assert content["methods"] == {"fgsm": {}, "pgd": {"steps": 2}}
    record = RobustnessBracket.load(files["--out"])
    assert record.rows == content["rows"]
    assert record.perturbed.shape == (20, 8, 8)
    assert files["--plot"].read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    for name, path in files.items():
        assert f"{name.removeprefix('--')}: {path}" in out
    assert "certified" in out


def test_attack_replaces_files_only_by_force(spectra: Here, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "a.json"
    page.write_text("mine")
    common = ("attack", model, "--method", "fgsm", "--examples", 5, "--json", page)
    assert "--json is" in spectra.refusal(*common)
    assert "which exists; name another file, or replace it by --force" in spectra.refusal(*common)
    assert page.read_text() == "mine"
    assert spectra(*common, "--force")[0] == 0
    assert json.loads(page.read_text())["examples"] == 5
    assert "would be replaced" in spectra.refusal("attack", model, "--json", model, "--force")


def test_attack_on_frames_without_bounds_in_batches(spectra: Here, model: Path) -> None:
    common = ("attack", model, "--method", "pgd", "--budget", "0.3", "--examples", 30, "--json", "-")
    found = {}
    for frames in ("all", "each", "worst"):
        code, out, _ = spectra(*common, "--norm", "l2", "--frames", frames, "--bounds", "none")
        assert code == 0
        found[frames] = json.loads(out)
        assert found[frames]["frames"] == frames
        assert found[frames]["bounds"] is None
    share = {frames: content["rows"][0]["robust_accuracy"] for frames, content in found.items()}
    assert share["each"] <= share["all"] <= share["worst"]
    assert share["each"] < share["worst"]
    code, out, _ = spectra(*common, "--norm", "l2", "--bounds", "none", "--batch-size", 7)
    assert json.loads(out)["minimal_budget"] == found["all"]["minimal_budget"]
    code, out, _ = spectra(*common, "--norm", "l2", "--bounds", "-1,2")
    assert json.loads(out)["bounds"] == [-1.0, 2.0]


NETWORKS = """
import torch
from torch import nn

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)
    def forward(self, x, lengths):
        print("forward")
        states = self.rnn(x)[0]
        return self.head(states[torch.arange(len(x)), lengths - 1])
"""


def _check_other_verbs(spectra: Here, network: object) -> None:
    """Kicks and diagnosis of that network take the same file."""
    import torch

    from rnn.motion.kicks import state_kicks

    own = ("own.pt", "--model", "own_networks:Masked", "--data")
    code, out, error = spectra("kicks", *own, "own.npz", "--size", "0.1", "--draws", 2, "--json", "-")
    assert code == 0, error
    with np.load("own.npz") as arrays:
        given = torch.from_numpy(arrays["x"]).float(), torch.from_numpy(arrays["lengths"])
    found = state_kicks(network, given, size=0.1, draws=2)
    assert json.loads(out)["rows"][1]["distances"] == np.median(found.distances[2], axis=0).tolist()
    code, out, error = spectra("diagnose", *own, "own.npz", "--quick", "--json", "-")
    assert code == 0, error
    json.loads(out)
    for verb in ("kicks", "diagnose"):
        code, _, error = spectra(verb, *own, "long.npz")
        assert code == 2
        assert "lengths spans 6 to 10" in error


def test_kicks_and_diagnose_of_a_bare_layer_take_lengths(
    spectra: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    layer = torch.nn.GRU(3, 4, batch_first=True)
    torch.save(layer.state_dict(), "gru.pt")
    np.savez("own.npz", x=np.random.default_rng(0).standard_normal((6, 5, 3)), lengths=[5, 3, 4, 5, 2, 5])
    code, out, error = spectra("kicks", "gru.pt", "--data", "own.npz", "--draws", 2)
    assert code == 0, error
    assert "6 trajectories, 5 steps" in out
    code, out, error = spectra("diagnose", "gru.pt", "--data", "own.npz", "--quick")
    assert code == 0, error
    (tmp_path / "own_alone.py").write_text("import torch\ndef build():\n    return torch.nn.GRU(3, 4)\n")
    said = spectra.refusal("kicks", "gru.pt", "--model", "own_alone:build", "--data", "own.npz")
    sys.modules.pop("own_alone", None)
    assert "hold lengths, but the forward of a GRU takes x alone" in said


def test_attack_on_a_network_of_ones_own(
    spectra: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """With lengths, and inputs in double precision, as NumPy writes them."""
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_networks.py").write_text(NETWORKS)
    request.addfinalizer(lambda: sys.modules.pop("own_networks", None))
    monkeypatch.syspath_prepend(tmp_path)
    from own_networks import Masked  # type: ignore[import-not-found]

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Masked()
    torch.save(network.state_dict(), "own.pt")
    random = np.random.default_rng(0)
    x, lengths = random.standard_normal((12, 5, 3)), np.arange(12) % 5 + 1
    with torch.no_grad():
        y = network(torch.from_numpy(x).float(), torch.from_numpy(lengths)).argmax(1).numpy()
    np.savez("own.npz", x=x, y=y, lengths=lengths)
    common = ("attack", "own.pt", "--model", "own_networks:Masked", "--data")
    options = ("--norm", "l2", "--budget", "0.1,1")
    code, out, error = spectra(*common, "own.npz", *options, "--json", "-")
    assert code == 0, error
    content = json.loads(out)
    assert content["clean_accuracy"] == 1
    assert content["rows"][1]["robust_accuracy"] < 1
    assert content["bounds"] is None
    assert "forward" in error
    for name, arrays, words in (
        ("labels", {"x": x, "y": y + 2, "lengths": lengths}, "holds the label"),
        ("nan", {"x": np.where(x == x[0, 0, 0], np.nan, x), "y": y, "lengths": lengths}, "NaN or infinite"),
        ("long", {"x": x, "y": y, "lengths": lengths + 5}, "lengths spans 6 to 10"),
        (
            "wide",
            {"x": np.ones((12, 5, 4)), "y": y, "lengths": lengths},
            "cannot run on x of shape (12, 5, 4)",
        ),
        (
            "whole",
            {"x": np.ones((12, 5, 3), int), "y": y, "lengths": lengths},
            "expected a torch tensor of floats",
        ),
        ("half", {"x": x, "y": y + 0.5, "lengths": lengths}, "y has dtype"),
        ("few", {"x": x, "y": y[:3], "lengths": lengths}, "y has shape (3,)"),
    ):
        np.savez(f"{name}.npz", **arrays)
        code, out, error = spectra(*common, f"{name}.npz", *options)
        assert (code, out) == (2, "")
        assert words in error.splitlines()[-1], error
    code, _, error = spectra(*common, "own.npz", *options, "--certify")
    assert code == 2
    assert "lengths is given, but certificates" in error
    code, _, error = spectra(*common, "own.npz", *options, "--bounds", "0,1")
    assert code == 2
    assert "outside bounds" in error
    _check_other_verbs(spectra, network)
    assert "is no checkpoint of `spectra train`" in spectra.refusal("attack", "own.pt")
    assert "--model is only used with --data" in spectra.refusal("attack", "own.pt", "--model", "a:b")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "wish"), "'wish'; expected one of"),
        (("--method", "pgd,wish"), "'wish'; expected one of"),
        (("--method", "pgd,pgd"), "--method is 'pgd,pgd'; expected different names"),
        (("--method", ""), "--method is ''"),
        (("--norm", "l7"), "norm is 'l7'; expected one of"),
        (("--budget", "-0.1"), "budget is -0.1"),
        (("--budget", "nan"), "budget is nan"),
        (("--budget", "much"), "--budget is 'much'; expected numbers"),
        (("--seed", "-1"), "rng is -1"),
        (("--threads", "0"), "Invalid value for '--threads'"),
        (("--frames", "some"), "frames is 'some'"),
        (("--bounds", "0.4,0.6"), "outside bounds"),
        (("--bounds", "1,0"), "expected lowest < highest"),
        (("--bounds", "1"), "expected two numbers"),
        (("--bounds", "low,high"), "--bounds is 'low,high'; expected numbers"),
        (("--option", "steps"), "--option is 'steps'; expected name=value"),
        (("--option", "fgsm.steps=3"), "--option is 'fgsm.steps=3'; expected name=value"),
        (("--option", "stride=3"), "stride is no option of method 'pgd'; it takes"),
        (("--option", "steps=0"), "steps is 0"),
        (("--option", "steps=2", "--option", "pgd.steps=3"), "sets steps of pgd twice"),
        (("--batch-size", "0"), "batch_size is 0"),
        (("--examples", "0"), "examples is 0"),
        (("--examples", "1000"), "examples is 1000"),
        (("--tolerance", "0.1"), "expected the same shape"),
        (("--wrong-share", "0.5"), "wrong_share is for labels of frames"),
        (("--certify", "--norm", "l1"), "norm is 'l1'; expected one of 'linf', 'l2'"),
        (("--data", "moons"), "data is 'moons'"),
        (("--data", "none.npz"), "none.npz"),
        (("--plot", "a.pdf"), "--plot is a.pdf; expected a name that ends in .png"),
        (("--out", "a.pt"), "--out is a.pt; expected a name that ends in .npz"),
        (("--out", "/no/such/a.npz"), "but there is no folder /no/such"),
        (("--json", "same.png", "--plot", "same.png"), "--json and --plot are both same.png"),
    ],
)
def test_attack_refuses_bad_options(spectra: Here, model: Path, options: tuple[str, ...], words: str) -> None:
    assert words in spectra.refusal("attack", model, *options)


def test_ctrl_c_ends_an_attack_and_leaves_no_file(model: Path, tmp_path: Path) -> None:
    process = start(
        "attack", model, "--method", "worst", "--out", tmp_path / "a.npz", "--json", tmp_path / "a.json",
        before=marked("rnn.verbs.attack", "need_extra"),
    )  # fmt: skip
    seconds, out, error = interrupted(process, after=4)
    assert seconds < 1
    assert (process.returncode, out, error) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_universal_tells_what_the_search_found(spectra: Here, model: Path, tmp_path: Path) -> None:
    from rnn.attacking.universal import universal_perturbation
    from rnn.attacking.universal_verdicts import UniversalPerturbation
    from rnn.tasks import load_task
    from rnn.training import load_checkpoint

    task, record = load_task("digits"), tmp_path / "u.npz"
    options = ("--budget", "0.2", "--epochs", 2, "--starts", 1, "--examples", 60, "--seed", 3)
    code, out, error = spectra("universal", model, *options, "--json", "-", "--out", record)
    assert code == 0, error
    found = universal_perturbation(
        load_checkpoint(model).model, task.x_test[:60], task.y_test[:60], norm="linf", budget=0.2,
        bounds=task.bounds, epochs=2, starts=1, rng=3,
    )  # fmt: skip
    content = json.loads(out)
    assert content["command"].startswith("spectra universal")
    assert content["examples"] == 60
    right = found.clean_correct.sum() + found.test_clean_correct.sum()
    assert content["clean_accuracy"] == right / 60
    assert (content["tolerance"], content["wrong_share"], content["bounds"]) == (None, 0, [0, 1])
    searched, held_out = content["rows"]
    assert searched["fooling_rate"] == found.fooling_rate
    assert held_out["fooling_rate"] == found.test_fooling_rate
    assert [held_out["lower"], held_out["upper"]] == found.test_interval.tolist()
    np.testing.assert_array_equal(UniversalPerturbation.load(record).delta, found.delta)
    code, table, _ = spectra("universal", model, *options, "--held-out", 0)
    assert code == 0
    assert "held out" not in table
    assert "random perturbations of that norm fool" in table


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--norm", "l7"), "norm is 'l7'"),
        (("--budget", "-1"), "budget is -1"),
        (("--frames", "worst"), "frames is 'worst'"),
        (("--held-out", "1"), "held_out is 1"),
        (("--epochs", "0"), "epochs is 0"),
        (("--starts", "0"), "starts is 0"),
        (("--bounds", "0.4,0.6"), "outside bounds"),
        (("--out", "a.png"), "--out is a.png; expected a name that ends in .npz"),
    ],
)
def test_universal_refuses_bad_options(
    spectra: Here, model: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in spectra.refusal("universal", model, *options)


def test_perturb_prints_what_weight_robustness_finds(spectra: Here, model: Path, tmp_path: Path) -> None:
    from rnn.attacking.weight_perturbations import weight_robustness
    from rnn.attacking.weight_verdicts import WeightRobustness
    from rnn.tasks import load_task
    from rnn.training import load_checkpoint

    task, record = load_task("digits"), tmp_path / "p.npz"
    options = ("--kind", "gaussian,int8_per_row", "--size", "0.1,0.5", "--draws", 3, "--examples", 40)
    code, out, error = spectra("perturb", model, *options, "--json", "-", "--out", record)
    assert (code, error) == (0, "")
    found = weight_robustness(
        load_checkpoint(model).model,
        task.x_test[:40],
        task.y_test[:40],
        kinds=["gaussian", "int8_per_row"],
        sizes=[0.1, 0.5],
        draws=3,
    )
    content = json.loads(out)
    assert [row["accuracy"] for row in content["rows"]] == found.accuracy.tolist()
    assert [row["size"] for row in content["rows"]] == found.sizes.tolist()
    assert content["clean_accuracy"] == found.clean_accuracy
    assert content["command"].startswith("spectra perturb")
    assert (content["tolerance"], content["wrong_share"], content["seed"]) == (None, 0, 0)
    assert WeightRobustness.load(record).accuracy.tolist() == found.accuracy.tolist()
    code, table, _ = spectra("perturb", model, *options)
    assert code == 0
    assert f"{found.lower[0]:.3f} .. {found.upper[0]:.3f}" in table
    assert "perturbed: weight_hh_l0[r], weight_hh_l0[z], weight_hh_l0[n]" in table
    code, table, _ = spectra("perturb", model, *options, "--matrix", "head.weight")
    assert code == 0
    assert "perturbed: head.weight" in table


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kind", "hammer"), "kinds is 'hammer'; expected one of"),
        (("--size", "-1"), "sizes is -1"),
        (("--size", "big"), "--size is 'big'; expected numbers"),
        (("--share", "2"), "shares holds 2"),
        (("--draws", "1"), "draws is 1"),
        (("--steps", "0"), "steps is 0"),
        (("--matrix", "brain"), "expected some of"),
        (("--out", "a.csv"), "--out is a.csv; expected a name that ends in .npz"),
        (("--examples", "0"), "examples is 0"),
    ],
)
def test_perturb_refuses_bad_options(
    spectra: Here, model: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in spectra.refusal("perturb", model, *options)


def test_perturb_help_names_every_kind(spectra: Here) -> None:
    from rnn.attacking.weight_perturbations import WEIGHT_PERTURBATIONS

    _, out, _ = spectra("perturb", "--help")
    assert all(kind in out for kind in WEIGHT_PERTURBATIONS)
    assert "…" not in out.partition("--size")[0]


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "rnn.cli", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("spectra-rnn ")


def test_kicks_are_told_and_drawn(spectra: Here, model: Path, tmp_path: Path) -> None:
    figure = tmp_path / "k.png"
    options = ("--size", "0.1,1", "--at", 2, "--examples", 6, "--draws", 2)
    code, out, error = spectra("kicks", model, *options, "--out", figure)
    assert (code, error) == (0, "")
    assert len(re.findall("size 0.1 before step 2, 6 trajectories", out)) == 1
    assert len(re.findall("size 1 before step 2, 6 trajectories", out)) == 1
    assert figure.read_bytes().startswith(b"\x89PNG")
    code, out, error = spectra("kicks", model, *options, "--json", "-")
    assert (code, error) == (0, "")
    content = json.loads(out)
    assert content["command"].startswith("spectra kicks")
    assert [(row["kind"], row["size"]) for row in content["rows"]] == [
        (kind, size) for size in (0.1, 1.0) for kind in ("random", "worst", "mean-jacobian")
    ]
    assert {len(row["distances"]) for row in content["rows"]} == {len(content["norms"])} == {7}
    assert all(0 <= row["changed"] <= 1 for row in content["rows"])
    code, out, _ = spectra("kicks", model, *options, "--json", tmp_path / "k.json")
    assert out.endswith(f"json: {tmp_path / 'k.json'}\n")
    assert json.loads((tmp_path / "k.json").read_text())["rows"] == content["rows"]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2, 4, 8)))
    np.savez(tmp_path / "x.npz", x=np.ones((2, 4, 8)), lengths=[4, 3])
    code, out, _ = spectra("kicks", model, "--size", "0.1", "--data", tmp_path / "x.npy", "--draws", 2)
    assert code == 0
    assert "2 trajectories, 4 steps" in out
    for arguments, words in (
        (("--out", figure), "which exists"),
        (("--size", "0", "--out", tmp_path / "b.png"), "kicks of size 0, which do not grow"),
        (("--size", "-1"), "size is -1"),
        (("--at", "9"), "at is 9"),
        (("--draws", "0"), "draws is 0"),
        (("--data", "moons"), "data is 'moons'"),
        (
            ("--data", tmp_path / "x.npz"),
            "hold lengths that differ, but a RecurrentClassifier is unrolled by its step",
        ),
        (("--out", tmp_path / "k.svg"), "ends in .png"),
    ):
        assert words in spectra.refusal("kicks", model, *arguments)
    assert not (tmp_path / "b.png").exists()


def test_diagnose_prints_a_table_and_findings(spectra: Here, model: Path) -> None:
    code, out, error = spectra("diagnose", model)
    assert (code, error) == (0, "")
    for gate in "rzn":
        assert f"weight_hh_l0[{gate}]" in out
    assert "nan" not in out
    assert re.search(r"(?m)^(pass|notice|warning): weight_hh_l0\[n\]: ", out)


def test_diagnose_writes_the_same_json_that_it_prints(spectra: Here, model: Path, tmp_path: Path) -> None:
    from rnn.examination import diagnose

    def timeless(text: str) -> dict[str, object]:
        return {key: value for key, value in json.loads(text).items() if key != "seconds"}

    found = diagnose(model, epsilon=0.2)
    code, out, error = spectra("diagnose", model, "--json", "-", "--epsilon", "0.2")
    assert code == 0, error
    assert timeless(out) == timeless(found.to_json())
    written = {
        "--json": tmp_path / "found.json",
        "--html": tmp_path / "found.html",
        "--csv": tmp_path / "found.csv",
        "--markdown": tmp_path / "found.md",
    }
    options = [text for option in written.items() for text in option]
    assert spectra("diagnose", model, *options, "--epsilon", "0.2")[0] == 0
    assert timeless(written["--json"].read_text("utf-8")) == timeless(out)
    assert written["--html"].read_text("utf-8").startswith("<!")
    assert written["--csv"].read_text("utf-8") == found.to_csv()
    assert written["--markdown"].read_text("utf-8") == found.to_markdown()
    assert sorted(tmp_path.iterdir()) == sorted(written.values())


def test_diagnose_quickly(spectra: Here, model: Path) -> None:
    code, out, error = spectra("diagnose", model, "--quick", "--threads", "1")
    assert code == 0, error
    assert "weight_hh_l0[n]" in out
    assert "pseudospectral" not in out


def test_diagnose_compares_two_states(spectra: Here, model: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(model, weights_only=True)["state_dict"]
    state["weight_hh_l0"] = 3 * state["weight_hh_l0"]
    torch.save(state, tmp_path / "after.pt")
    page = tmp_path / "changes.html"
    code, out, error = spectra("diagnose", model, tmp_path / "after.pt", "--html", page)
    assert code == 0, error
    assert "m.pt -> after.pt" in out or f"{model.name} -> after.pt" in out
    assert re.search(r"weight_hh_l0\[n\] +[\d.]+ -> [\d.]+", out)
    assert "weights moved by" in out
    assert "What changed" in page.read_text("utf-8")
    assert "in its own order" not in out
    line = spectra.refusal("diagnose", model, model, "--data", "digits")
    assert "--data is for one network" in line


def test_diagnose_runs_data_through_the_network(spectra: Here, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, error = spectra("diagnose", model, "--data", "digits", "--quick", "--html", page)
    assert code == 0, error
    assert "largest Lyapunov exponent" in out
    assert "Lyapunov" in page.read_text("utf-8")
    assert "--model is only used with --data" in spectra.refusal("diagnose", model, "--model", "a:b")
    assert "data is 'moons'; expected" in spectra.refusal("diagnose", model, "--data", "moons")


def test_what_is_read_is_not_replaced(spectra: Here, model: Path, matrix: Path) -> None:
    before = model.read_bytes(), matrix.read_bytes()
    assert "would be replaced" in spectra.refusal("diagnose", model, "--json", model)
    assert "would be replaced" in spectra.refusal("diagnose", model, "--data", matrix, "--csv", matrix)
    assert "would be replaced" in spectra.refusal("pseudospectrum", matrix, "--out", matrix)
    assert before == (model.read_bytes(), matrix.read_bytes())


LOUD = """
import sys
from torch import nn

class Loud(nn.Module):
    def __init__(self, leaves=False):
        super().__init__()
        self.rnn, self.leaves = nn.GRU(8, 3, batch_first=True), leaves
    def forward(self, x):
        print("forward")
        if self.leaves:
            sys.exit("bye")
        return self.rnn(x)[0]

def build():
    print("build")
    return Loud()

def leaving():
    return Loud(True)
"""


def test_what_a_network_prints_or_ends_does_no_harm(
    spectra: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud_networks.py").write_text(LOUD)
    request.addfinalizer(lambda: sys.modules.pop("loud_networks", None))
    torch.save({f"rnn.{key}": value for key, value in torch.nn.GRU(8, 3).state_dict().items()}, "m.pt")
    common = ("diagnose", "m.pt", "--data", "digits", "--quick", "--json", "-", "--model")
    code, out, error = spectra(*common, "loud_networks:build")
    assert code == 0, error
    assert json.loads(out)["source"] == "m.pt"
    assert error.startswith("build\nforward\n")
    code, out, error = spectra(*common, "loud_networks:leaving")
    assert (code, out) == (2, "")
    assert error.startswith("forward\nerror: the network's own code ends the program (SystemExit: bye);")


def test_diagnose_reads_leaky_cells_and_bare_arrays(spectra: Here, tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "w.npz", weight_hh=np.diag([0.5, 0.2]), other=np.ones((2, 3)))
    code, out, _ = spectra("diagnose", tmp_path / "w.npz", "--leak", "0.5", "--orientation", "in_out")
    assert code == 0
    assert "0.5 I + 0.5 weight_hh" in out
    assert re.search(r"other +3 +2 ", out)
    code, out, _ = spectra("diagnose", tmp_path / "w.npz", "--dt", "0.1", "--quick")
    assert "(weight_hh - I) / 0.1" in out
    assert "leak is 2" in spectra.refusal("diagnose", tmp_path / "w.npz", "--leak", "2")


@pytest.mark.parametrize(
    ("norm", "level", "code"),
    [(0.5, "notice", 0), (2.0, "notice", 1), (2.0, "warning", 0), (0.95, "warning", 1), (0.95, "notice", 1)],
)
def test_fail_on_decides_the_exit_code(
    spectra: Here, tmp_path: Path, norm: float, level: str, code: int
) -> None:
    """Of a multiple of the identity: norm 0.5 passes, 2 is a notice, and 0.95 a warning at epsilon 0.1."""
    import torch

    path = tmp_path / "weights.pt"
    torch.save({"weight_hh_l0": norm * torch.eye(4)}, path)
    assert spectra("diagnose", path, "--fail-on", level)[0] == code
    assert spectra("diagnose", path)[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fail-on", "anything"), "--fail-on is 'anything'; expected notice or warning"),
        (("--epsilon", "0"), "epsilon is 0"),
        (("--json", "/no/such/folder/a.json"), "--json is /no/such/folder/a.json, but there is no folder"),
        (("--html", "."), "--html is ., which is a folder"),
        (("--csv", "a", "--markdown", "./a"), "--csv and --markdown are both a"),
        (("--largest", "0"), "largest is 0"),
        (("--orientation", "sideways"), "orientation"),
        (("--orientation", "in_out"), "orientation"),
        (("--dt", "nan"), "dt"),
    ],
)
def test_diagnose_refuses_bad_options(
    spectra: Here, model: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in spectra.refusal("diagnose", model, *options)


@pytest.mark.parametrize("verb", ["attack", "diagnose", "perturb", "kicks"])
def test_bad_checkpoints_are_refused(spectra: Here, model: Path, tmp_path: Path, verb: str) -> None:
    assert "none.pt' does not exist" in spectra.refusal(verb, tmp_path / "none.pt")
    bad = tmp_path / "bad.pt"
    for content in (b"", b"not a checkpoint", model.read_bytes()[:-100], model.read_bytes()[:1000]):
        bad.write_bytes(content)
        assert "bad.pt" in spectra.refusal(verb, bad)


def test_demo_makes_one_call_and_prints_what_came_back(
    spectra: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    from rnn.study import demo, engine

    calls = []

    def run_demo(out: Path, **options: object) -> demo.DemoResult:
        options.pop("progress")(1, 4, None)
        calls.append((out, options))
        failed = engine.TrialResult(3, "network 3", None, "it broke", "", 0.0)
        summary = pd.DataFrame({"measure": ["rho"], "mean of families": ["+0.50 [+0.10, +0.70]"]})
        table = pd.DataFrame({"cell": ["tanh"] * 4})
        return demo.DemoResult(out, (out / "report.html",), table, table, summary, (failed,), 7.0)

    monkeypatch.setattr(demo, "run_demo", run_demo)
    code, out, error = spectra("demo", "--out", tmp_path, "--models", 5, "--seed", 3, "--workers", 2)
    assert code == 0
    assert calls == [(tmp_path, {"models_per_cell": 5, "seed": 3, "workers": 2})]
    assert "4 networks, 7 s" in out
    assert "+0.50 [+0.10, +0.70]" in out
    assert out.endswith(f"{tmp_path / 'report.html'}\n")
    assert error == "warning: network 3 failed: it broke\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--models", "0"), "models_per_cell is 0"),
        (("--workers", "0"), "workers is 0"),
        (("--seed", "-1"), "seed is -1"),
    ],
)
def test_demo_refuses_bad_options(
    spectra: Here, tmp_path: Path, options: tuple[str, str], words: str
) -> None:
    assert words in spectra.refusal("demo", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_demo_is_repeatable_and_whole(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        code, out, error = finished(start("demo", "--out", tmp_path / folder, "--models", 1))
        assert (code, error) == (0, "")
        assert str(tmp_path / folder / "report.html") in out
    for table in ("models.csv", "correlations.csv"):
        assert (tmp_path / "first" / table).read_bytes() == (tmp_path / "second" / table).read_bytes()
    page = (tmp_path / "first" / "report.html").read_text("utf-8")
    targets = re.findall(r"(?:src|href)=[\"']([^\"']*)", page)
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets), "the report needs another file"


def test_ctrl_c_ends_the_demo_and_its_workers(tmp_path: Path) -> None:
    process = start(
        "demo", "--out", tmp_path / "out", "--models", 2, before=marked("rnn.study.engine", "run_trials")
    )
    seconds, out, error = interrupted(process, after=2)
    assert seconds < 1
    assert (process.returncode, out, error) == (130, "", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_closed_streams_do_no_harm(tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.eye(3))
    line = f"{sys.executable} -c '{COMMAND}' pseudospectrum {tmp_path}/A.npy --shape 3,3"
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&-"):
        done = subprocess.run(
            ["sh", "-c", f"{line} {closed}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), closed


def test_one_file_for_two_results_is_refused(spectra: Here, tmp_path: Path) -> None:
    np.save(tmp_path / "A.npy", np.eye(3))
    same = tmp_path / "same.png"
    assert "--out and --figure are both" in spectra.refusal(
        "pseudospectrum", tmp_path / "A.npy", "--out", same, "--figure", same
    )


def test_names_of_files_do_not_command_the_terminal(spectra: Here, tmp_path: Path) -> None:
    name = tmp_path / "$x_{$\x1b[31m.npy"
    np.save(name, np.eye(3))
    code, out, _ = spectra("pseudospectrum", name, "--shape", "3,3", "--figure", tmp_path / "a.png")
    assert code == 0
    assert "\x1b" not in out
    assert "\x1b" not in spectra.refusal("pseudospectrum", name, "--shape", "3,3", "--out", name / "x")
