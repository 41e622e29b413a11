"""The packages of the extra [rnn]: which are missing, and what to do about it."""

from __future__ import annotations

import importlib.util

PACKAGES = {"torch": "torch", "sklearn": "scikit-learn", "pandas": "pandas", "jinja2": "jinja2"}


def advice(what: str, missing: list[str]) -> str:
    """Say that something needs packages that are not installed, and how to get them.

    Parameters
    ----------
    what : str
        What needs them.
    missing : list of str
        Their import names.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> advice("train", ["sklearn"])
    "train needs scikit-learn, not installed here: pip install 'spectra-rnn[rnn]' (in a clone '.[rnn]')"
    """
    names = ", ".join(PACKAGES[name] for name in missing)
    return f"{what} needs {names}, not installed here: pip install 'spectra-rnn[rnn]' (in a clone '.[rnn]')"


def missing_packages() -> list[str]:
    """Give the import names of the packages of the extra that cannot be found.

    Returns
    -------
    list of str
        Empty when all are there.
    """
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
