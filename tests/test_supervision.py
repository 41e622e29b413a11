"""A supervised command: its exit code is passed on, and it ends within a second whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def start(body: str) -> subprocess.Popen[str]:
    """Run `body` as the supervised command; it says "ready" and its process id when it is under way."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    script = (
        "import os, signal, subprocess, sys, time\nfrom rnn.supervision import supervised\n"
        f"def command():\n{indented}\nsys.exit(supervised(command))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupted(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[float, str]:
    """Send the signal when the command is under way; give the seconds to its end, and its stderr."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    return time.monotonic() - begun, said


def gone(pid: int) -> bool:
    """Whether the process ends within two seconds (as a zombie, if nobody has waited for it)."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("code", [0, 1, 2, 70])
def test_the_exit_code_is_passed_on(code: int) -> None:
    process = start(f"print('out'); return {code}")
    assert process.communicate(timeout=10) == ("out\n", "")
    assert process.returncode == code


def test_a_command_that_is_killed_says_so() -> None:
    process = start("os.kill(os.getpid(), signal.SIGKILL)")
    assert "ended by signal 9" in process.communicate(timeout=10)[1]
    assert process.returncode == 137


def test_ctrl_c_lets_the_command_tidy_up(tmp_path: Path) -> None:
    temporary = tmp_path / "half"
    process = start(
        f"open({str(temporary)!r}, 'w').close()\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        f"except KeyboardInterrupt: return 130\nfinally: os.unlink({str(temporary)!r})"
    )
    seconds, said = interrupted(process)
    assert process.returncode == 130
    assert seconds < 1
    assert said == "interrupted\n"
    assert not temporary.exists()


def test_ctrl_c_ends_a_command_that_does_not_listen() -> None:
    process = start(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)\nreturn 0"
    )
    seconds, said = interrupted(process)
    assert process.returncode == 130
    assert seconds < 1
    assert said == "interrupted\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_end_it_too(number: int, code: int) -> None:
    process = start("print('ready', flush=True)\ntime.sleep(60)\nreturn 0")
    interrupted(process, number)
    assert process.returncode == code


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_command(tmp_path: Path, number: int) -> None:
    pids = tmp_path / "pids"
    process = start(
        "worker = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{worker.pid}}')\n"
        "print('ready', flush=True)\ntime.sleep(60)\nreturn 0"
    )
    interrupted(process, number)
    assert all(gone(int(pid)) for pid in pids.read_text().split())
