"""Images read row by row: the 8 x 8 digits of scikit-learn, and MNIST from its IDX files."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray

from rnn.data.data_files import Source, file_if_there, found_file
from rnn.data.idx_files import read_idx
from rnn.data.splits import stratified_choice
from rnn.data.task import Task
from spectra.checks import whole_number

_MNIST = Source(
    "mnist",
    ("mnist", "MNIST/raw", "MNIST"),
    "http://yann.lecun.com/exdb/mnist/ or a mirror such as https://ossci-datasets.s3.amazonaws.com/mnist/",
)


def digits(seed: int, data_root: str | os.PathLike[str] | None) -> Task:
    """Give scikit-learn's digits: 8 rows of 8 features in [0, 1]; 1437 for training, 360 for the test.

    Parameters
    ----------
    seed : int
        Determines the split.
    data_root : path-like or None
        Not needed: the data come with scikit-learn.

    Returns
    -------
    Task
        The data.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images, labels = (data.images / 16.0).astype(np.float32), data.target.astype(np.int64)
    random = np.random.RandomState(np.random.MT19937(seed))
    train, test = train_test_split(np.arange(1797), test_size=360, stratify=labels, random_state=random)
    note = "1797 examples, split by seed so that each class keeps its share"
    return _rows("digits", images[train], labels[train], images[test], labels[test], note)


def mnist(
    seed: int,
    data_root: str | os.PathLike[str] | None,
    *,
    train_size: int | None = None,
    test_size: int | None = None,
) -> Task:
    """Give MNIST: 28 rows of 28 features in [0, 1].

    Parameters
    ----------
    seed : int
        Determines the split, where there is no official one, and the examples that a size leaves.
    data_root : path-like or None
        Folder of the IDX files, or of the folder mnist.
    train_size, test_size : int, optional
        Take only so many examples, chosen by `seed` so that each class keeps its share.

    Returns
    -------
    Task
        The official 60,000 and 10,000 images; where the training images are missing, the 10,000 test images
        split into 8000 and 2000.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or a size is below 10 or above what there is.
    """
    held = _mnist_part(data_root, "t10k")
    if file_if_there(data_root, _names("train", "images-idx3"), _MNIST) is not None:
        train, test, note = _mnist_part(data_root, "train"), held, "official split"
    else:
        second, first = stratified_choice(held[1], len(held[1]) // 5, seed=seed)
        train, test = ((held[0][index], held[1][index]) for index in (first, second))
        note = (
            f"no training images (train-images-idx3-ubyte) found: the {len(held[1])} test images were split "
            "by seed so that each class keeps its share"
        )
    train = _fewer(*train, train_size, "train_size", seed)
    test = _fewer(*test, test_size, "test_size", seed)
    return _rows("mnist", *train, *test, note)


def _names(part: str, kind: str) -> tuple[str, ...]:
    plain = f"{part}-{kind}-ubyte"
    dotted = f"{part}-{kind.replace('-idx', '.idx')}-ubyte"  # as some unpackers name it
    return plain, f"{plain}.gz", dotted, f"{dotted}.gz"


def _mnist_part(
    data_root: str | os.PathLike[str] | None, part: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    image_file = found_file(data_root, _names(part, "images-idx3"), _MNIST)
    label_file = found_file(data_root, _names(part, "labels-idx1"), _MNIST)
    images = read_idx(image_file, dimensions=3)
    labels = read_idx(label_file, dimensions=1)
    if images.shape[1:] != (28, 28):
        raise ValueError(
            f"{image_file} holds images of {images.shape[1:]} pixels; expected 28 x 28: get MNIST's"
        )
    if len(labels) != len(images):
        raise ValueError(
            f"{label_file} holds {len(labels)} labels for the {len(images)} images of {image_file}; expected "
            "as many: get both again"
        )
    if labels.max() > 9:
        where = int(np.argmax(labels > 9))
        raise ValueError(
            f"{label_file} holds the label {labels[where]} at byte {8 + where}; expected 0 to 9: get it again"
        )
    return images, labels.astype(np.int64)


def _fewer(
    images: NDArray[np.uint8], labels: NDArray[np.int64], size: int | None, name: str, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if size is None or whole_number(size, name, least=10, most=len(labels)) == len(labels):
        return images, labels
    chosen, _ = stratified_choice(labels, size, seed=seed)
    return images[chosen], labels[chosen]


def _rows(
    name: str,
    x_train: NDArray[np.uint8] | NDArray[np.float32],
    y_train: NDArray[np.int64],
    x_test: NDArray[np.uint8] | NDArray[np.float32],
    y_test: NDArray[np.int64],
    note: str,
) -> Task:
    train, test = (
        torch.from_numpy(x if x.dtype == np.float32 else x.astype(np.float32) / np.float32(255))
        for x in (x_train, x_test)
    )
    return Task(
        name=name,
        x_train=train,
        y_train=torch.from_numpy(y_train),
        x_test=test,
        y_test=torch.from_numpy(y_test),
        classes=10,
        bounds=(0.0, 1.0),
        note=note,
    )
