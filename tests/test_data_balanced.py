"""The order in which every class comes as often as the others."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny

from sagan.config import DataConfig
from sagan.data import Dataset
from sagan.errors import SaganError
from sagan.training.draws import draw_reals
from sagan.training.preparation import prepare


def of_classes(*counts, names=None):
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = np.random.default_rng(0).permutation(labels)
    return Dataset(
        images=np.broadcast_to(np.uint8(0), (len(labels), 3, 1, 1)),
        labels=labels,
        class_names=names or tuple(map(str, range(len(counts)))),
        fingerprint="",
    )


def order(dataset, batch_size, batches, seed=0):
    found = [dataset.balanced_indices(batch_size, step, seed) for step in range(batches)]
    assert all(batch.dtype == np.int64 and len(batch) == batch_size for batch in found)
    return np.concatenate(found)


def test_a_thousand_to_one_shows_both_classes_equally():
    dataset = of_classes(1000, 1)
    labels = dataset.labels[order(dataset, 64, 50)]
    np.testing.assert_array_equal(np.bincount(labels), [1600, 1600])


@pytest.mark.parametrize("batch_size", [1, 7, 12, 50])
def test_no_class_is_ever_more_than_one_picture_behind(batch_size):
    dataset = of_classes(30, 5, 12, 1, 2)
    labels = dataset.labels[order(dataset, batch_size, 20)]
    for count in range(1, len(labels) + 1):
        shown = np.bincount(labels[:count], minlength=5)
        assert shown.max() - shown.min() <= 1


def test_every_picture_of_a_class_comes_once_before_any_comes_again():
    counts = (30, 5, 12)
    dataset = of_classes(*counts)
    shown = order(dataset, 9, 20)
    for label, count in enumerate(counts):
        pictures = shown[dataset.labels[shown] == label]
        epochs = [pictures[i : i + count] for i in range(0, len(pictures) - count + 1, count)]
        assert epochs
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch), np.flatnonzero(dataset.labels == label))
        assert len(epochs) == 1 or any((a != epochs[0]).any() for a in epochs[1:])


def test_it_depends_on_its_arguments_alone():
    dataset = of_classes(30, 5, 12)
    there = [dataset.balanced_indices(7, step, 3) for step in range(40)]
    for step in (39, 0, 20, 21, 5):
        np.testing.assert_array_equal(
            of_classes(30, 5, 12).balanced_indices(7, step, 3), there[step]
        )
        np.testing.assert_array_equal(dataset.balanced_indices(7, step, 3), there[step])
    assert (order(dataset, 7, 10, seed=4) != np.concatenate(there[:10])).any()


def test_classes_without_pictures_are_passed_over():
    dataset = replace(of_classes(3, 4), class_names=("a", "b", "empty"))
    np.testing.assert_array_equal(np.bincount(dataset.labels[order(dataset, 4, 5)]), [10, 10])


def test_training_draws_in_the_order_that_the_settings_name(dataset):
    few = replace(dataset, labels=np.array([0] * 11 + [1]))
    config = tiny(batch_size=8)
    config = replace(config, data=replace(config.data, order="balanced"))
    labels = [draw_reals(few, config, update).labels for update in range(3)]
    assert [batch.bincount().tolist() for batch in labels] == [[4, 4]] * 3


def test_the_classes_of_fakes_follow_what_the_discriminator_sees(dataset, tmp_path, picture_folder):
    labels = np.array([0] * 9 + [2] * 3)
    few = replace(dataset, labels=labels, class_names=("a", "empty", "c"))
    config = tiny(fake_labels="data")
    config = replace(config, data=replace(config.data, source=str(picture_folder)))
    there = replace(prepare(config, tmp_path / "run"), dataset=few)
    assert there.label_frequencies.tolist() == [0.75, 0, 0.25]
    config = replace(config, data=replace(config.data, order="balanced"))
    assert replace(there, config=config).label_frequencies.tolist() == [0.5, 0, 0.5]


def test_there_is_nothing_to_balance_without_labels():
    with pytest.raises(SaganError, match=r"data.order = 'balanced'.*data.labels is none"):
        DataConfig(order="balanced", labels="none")
