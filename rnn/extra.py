"""The packages of the extras: which are missing, and what to do about it."""

from __future__ import annotations

import importlib.util

PACKAGES = {
    "torch": "torch",
    "sklearn": "scikit-learn",
    "pandas": "pandas",
    "jinja2": "jinja2",
    "safetensors": "safetensors",
}
FURTHER = {"onnx": "onnx", "distributed": "dask", "pyarrow": "parquet"}  # import name to extra, beside [rnn]


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
    >>> print(advice("this", ["onnx"]))
    this needs onnx, not installed here: pip install 'spectra-rnn[rnn,onnx]' (in a clone '.[rnn,onnx]')
    """
    names = ", ".join(PACKAGES.get(name, name) for name in missing)
    extras = ",".join(["rnn", *sorted({FURTHER[name] for name in missing if name in FURTHER})])
    return (
        f"{what} needs {names}, not installed here: "
        f"pip install 'spectra-rnn[{extras}]' (in a clone '.[{extras}]')"
    )


def missing_packages() -> list[str]:
    """Give the import names of the packages of the extra [rnn] that cannot be found.

    Returns
    -------
    list of str
        Empty when all are there.
    """
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def require(name: str, *, what: str) -> None:
    """Refuse to go on without a package.

    Parameters
    ----------
    name : str
        Its import name.
    what : str
        What needs it.

    Raises
    ------
    ModuleNotFoundError
        If it cannot be found.
    """
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(advice(what, [name]), name=name)
