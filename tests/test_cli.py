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
        f"import {module} as room\nplain = room.{name}\n"
        "def marked(*arguments, **options):\n"
        "    print('ready', flush=True)\n    return plain(*arguments, **options)\n"
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
    return re.sub(r"(?m)^\w+: \d+ of \d+\n", "", error)


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
        for verb in ("demo", "pseudospectrum", "diagnose", "train", "attack"):
            assert re.search(rf"\b{verb}\b", out)


@pytest.mark.parametrize("verb", ["demo", "pseudospectrum", "diagnose", "train", "attack"])
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
    code, out, error = spectra("attack", model, *options, "--json")
    assert (code, error) == (0, "")
    clean, attacked = json.loads(out)
    task = load_task("digits")
    trained = load_checkpoint(model).model
    found = attack(
        trained, task.x_test, task.y_test, method="fgsm", norm="linf", budget=0.1, bounds=task.bounds
    )
    assert clean["fooled"] == 0
    assert clean["robust_accuracy"] == found.clean_accuracy
    assert attacked["fooled"] == found.fooled.sum() > 0
    assert attacked["robust_accuracy"] == 1 - found.success_rate
    assert (attacked["method"], attacked["norm"], attacked["budget"]) == ("fgsm", "linf", 0.1)

    code, table, error = spectra("attack", model, *options)
    assert (code, error) == (0, "")
    assert f"{found.fooling_rate:.4g}" in table


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "wish"), "method is 'wish'; expected one of"),
        (("--norm", "l7"), "norm is 'l7'; expected one of"),
        (("--budget", "-0.1"), "budget is -0.1"),
        (("--budget", "much"), "--budget is 'much'; expected numbers"),
        (("--seed", "-1"), "rng is -1"),
        (("--threads", "0"), "Invalid value for '--threads'"),
    ],
)
def test_attack_refuses_bad_options(spectra: Here, model: Path, options: tuple[str, str], words: str) -> None:
    assert words in spectra.refusal("attack", model, *options)


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


@pytest.mark.parametrize("verb", ["attack", "diagnose"])
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
