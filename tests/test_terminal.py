"""Tables and progress as a reader of a log, or at a terminal, gets to see them."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnn import terminal
from rnn.terminal import print_records, print_table, progress_of

ROOT = Path(__file__).resolve().parents[1]


def printed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_a_table_shows_every_cell_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "value"], [["weight[i]", "[bold]1[/bold]"], ["x", "2"]], "a [red]title")
    lines = printed(capsys)
    assert lines[0] == ["a", "[red]title"]
    assert lines[1] == ["name", "value"]
    assert lines[3:] == [["weight[i]", "[bold]1[/bold]"], ["x", "2"]]


def test_a_wide_table_keeps_its_digits_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    row = [f"{number}.123456789012" for number in range(8)]
    print_table([f"column{number}" for number in range(8)], [row], "wide")
    assert row in printed(capsys)


def test_records_show_four_digits_and_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_records([{"name": "a", "x": 1.23456, "n": 12345}, {"name": "b", "x": float("nan"), "n": 0}], "t")
    lines = printed(capsys)
    assert lines[1] == ["name", "x", "n"]
    assert lines[3:] == [["a", "1.235", "12345"], ["b", "-", "0"]]


def test_a_terminal_sees_a_progress_bar_that_goes_away() -> None:
    pty = pytest.importorskip("pty")
    script = (
        "from rnn.terminal import progress_of\n"
        "with progress_of('points') as show:\n"
        "    show(1, 4)\n    show(4, 4)"
    )
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=slave) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(master, 4096):
                shown += piece
    os.close(master)
    assert process.returncode == 0
    assert b"points" in shown
    assert b"4/4" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l"), "the cursor is left hidden"


def test_a_log_sees_a_line_now_and_then_while_the_work_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal._lines("networks", first=0.01, every=0.01) as show:
        time.sleep(0.1)
        assert capsys.readouterr().err == "", "nothing is known yet"
        show(3, 4, "more")
        deadline = time.monotonic() + 20
        shown = ""
        while shown.count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
            shown += capsys.readouterr().err
    assert re.fullmatch(r"(networks: 3 of 4, \d+ s\n){2,}", shown)
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == "", "it goes on after the end"


def test_what_is_quick_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_of("networks") as show:
        show(1, 4)
    assert capsys.readouterr().err == ""


def test_names_do_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [["a\x1b[31m\x9b\u202e.weight"]], "\x1b]0;title\x07 \udcff")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a\\x1b[31m\\x9b\\u202e.weight" in out
    assert "\\x1b]0;title\\x07 \\udcff" in out
    assert terminal.printable("two\nlines, ε ≤ 1\u00a0%") == "two\nlines, ε ≤ 1\u00a0%"
