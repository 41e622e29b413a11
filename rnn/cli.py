"""The command `spectra`: its verbs, and how every failure becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import Annotated

import typer

from rnn.supervision import supervised
from rnn.terminal import printable
from rnn.verbs.attack import attack
from rnn.verbs.correlate import correlate
from rnn.verbs.demo import demo
from rnn.verbs.diagnose import diagnose
from rnn.verbs.kicks import kicks
from rnn.verbs.perturb import perturb
from rnn.verbs.pseudospectrum import pseudospectrum
from rnn.verbs.study import app as study
from rnn.verbs.train import train
from rnn.verbs.universal import universal

_VERBS = (
    demo,
    pseudospectrum,
    diagnose,
    train,
    attack,
    universal,
    perturb,
    kicks,
    correlate,
)  # in the order of the help
_BAD_INPUT, _FAULT, _INTERRUPTED, _BROKEN_PIPE = 2, 70, 130, 141

app = typer.Typer(
    name="spectra",
    help="Spectra, pseudospectra and robustness of trained networks.",
    epilog="Exit codes: 0 fine, 1 findings (--fail-on), 2 bad input, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; the entry point of `spectra`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    sys.exit(supervised(_run))


def _run() -> int:
    """Run the app and turn every foreseen failure into one line and an exit code."""
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        code = app(prog_name="spectra", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:  # the reader has seen enough; typer exits by itself
        if isinstance(error, SystemExit) and not isinstance(error.__context__, OSError):
            what = f"SystemExit: {error.code}"
            return _refused(error, f"the network's own code ends the program ({what}); take that out")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        if error.filename:
            return _refused(error, f"{error.filename}: {error.strerror}; check the path")
        lost = f"the output cannot be written ({error.strerror}); check where it goes"
        return _refused(error, lost if error.strerror else str(error))
    except (ValueError, TypeError, MemoryError, ModuleNotFoundError) as error:
        return _refused(error, str(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the command line
            where = getattr(getattr(error, "ctx", None), "command_path", "spectra")
            return _refused(error, f"{error.format_message().rstrip('.')}; see {where} --help")
        traceback.print_exc()
        print("error: this is a fault of spectra-rnn, not of the input; please report it", file=sys.stderr)
        return _FAULT


def _refused(error: BaseException, message: str) -> int:
    if "SPECTRA_TRACEBACK" in os.environ:
        traceback.print_exception(error)
    line = printable(" ".join((message or type(error).__name__).split()))
    print(f"error: {line}", file=sys.stderr)
    return _BAD_INPUT


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from spectra import __version__

        typer.echo(f"spectra-rnn {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _verb in _VERBS:
    app.command()(_verb)
app.add_typer(study, name="study")

if __name__ == "__main__":
    main()
