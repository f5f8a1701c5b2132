"""Batches: every image once an epoch, the same order from the same seed, any position at once, bad records skipped."""
import concurrent.futures
import dataclasses
import threading

import numpy as np
import pytest
from small_sets import draw, jpeg, write_training_set

from common.errors import RunError, UserError
from recordio_tools.records.dataset import open_dataset
from training.data.augmentation import Augmentation
from training.data.loader import MOST_CHUNK, BatchLoader, choose_images
from training.data.order import EndlessOrder, flip_flags
from training.specs import LoaderSpec

PLAIN = Augmentation(mirror=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return open_dataset(write_training_set(tmp_path_factory.mktemp("set"), identities=5, images=4))


def batches(dataset, count, **settings):
    settings = {"batch": 4, "augmentation": PLAIN, "seed": 1, **settings}
    where = {name: settings.pop(name) for name in ("position", "bad") if name in settings}
    loader = BatchLoader(dataset, np.arange(len(dataset.labels)), LoaderSpec(**settings), **where)
    try:
        return [loader.next() for _ in range(count)]
    finally:
        loader.close()


def test_each_epoch_is_another_permutation():
    order = EndlessOrder(10, seed=3)
    first, second = order.take(0, 10), order.take(10, 10)
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_the_order_can_be_entered_anywhere():
    whole = EndlessOrder(7, seed=5).take(0, 50)
    np.testing.assert_array_equal(EndlessOrder(7, seed=5).take(13, 20), whole[13:33])
    assert list(EndlessOrder(7, seed=6).take(0, 50)) != list(whole)


def test_coins_are_fair_and_independent_and_of_seed_and_position_alone():
    whole = flip_flags(3, 0, 20000)
    np.testing.assert_array_equal(flip_flags(3, 777, 500), whole[777:1277])
    far = 1 << 40
    np.testing.assert_array_equal(flip_flags(3, far + 5, 10), flip_flags(3, far, 20)[5:15])
    for other in (flip_flags(4, 0, 20000), whole[np.arange(20000) ^ 1], np.roll(whole, 1), np.roll(whole, 4096)):
        assert 0.48 < (whole == other).mean() < 0.52
    assert 0.48 < whole.mean() < 0.52


def test_batches_of_several_chunks_hold_every_image_in_its_place(dataset):
    size = 2 * MOST_CHUNK + 3
    whole = batches(dataset, 2, batch=size, augmentation=Augmentation())
    single = batches(dataset, 2 * size, batch=1, augmentation=Augmentation())
    for field in ("images", "labels", "keys"):
        np.testing.assert_array_equal(np.concatenate([getattr(batch, field) for batch in whole]),
                                      np.concatenate([getattr(batch, field) for batch in single]))


def test_an_epoch_holds_each_image_once_with_its_own_label_and_pixels(dataset):
    got = batches(dataset, 5)
    keys = np.concatenate([batch.keys for batch in got])
    assert sorted(keys) == sorted(dataset.keys)
    for batch in got:
        assert batch.images.dtype == np.uint8 and batch.labels.dtype == np.int32
        for image, label, key in zip(batch.images, batch.labels, batch.keys):
            position = int(np.flatnonzero(dataset.keys == key)[0])
            assert label == position // 4
            drawn = draw(label, position % 4).astype(int)  # before JPEG
            assert np.abs(image.astype(int) - drawn).mean() < 9
            assert np.abs(image[..., ::-1].astype(int) - drawn).mean() > np.abs(image.astype(int) - drawn).mean()


def test_a_resumed_loader_continues_with_the_next_image_and_the_same_augmentation(dataset):
    augmentation = Augmentation(mirror=True, cutoff=30, color=2)
    whole = batches(dataset, 8, augmentation=augmentation)
    resumed = batches(dataset, 3, augmentation=augmentation, position=20)
    for expected, got in zip(whole[5:], resumed):
        np.testing.assert_array_equal(got.keys, expected.keys)
        np.testing.assert_array_equal(got.images, expected.images)


def test_the_number_of_threads_changes_nothing(dataset):
    for one, four in zip(batches(dataset, 4, threads=1), batches(dataset, 4, threads=4)):
        np.testing.assert_array_equal(one.images, four.images)


def test_workers_share_out_the_batches_of_one(dataset):
    """Each has a part of every batch: mirrored and augmented as the whole batch is."""
    augmentation = Augmentation(mirror=True, cutoff=30, color=1)
    whole = batches(dataset, 4, batch=9, augmentation=augmentation)
    parts = [batches(dataset, 4, batch=3, stride=9, position=3 * rank, augmentation=augmentation) for rank in range(3)]
    for expected, *shared in zip(whole, *parts):
        for field in ("images", "labels", "keys"):
            np.testing.assert_array_equal(np.concatenate([getattr(part, field) for part in shared]),
                                          getattr(expected, field))


def test_half_of_the_images_are_mirrored(dataset):
    plain = {key: image for batch in batches(dataset, 5) for key, image in zip(batch.keys, batch.images)}
    mirrored = total = 0
    for batch in batches(dataset, 50, augmentation=Augmentation(mirror=True)):
        for key, image in zip(batch.keys, batch.images):
            if np.array_equal(image, plain[key][:, ::-1]):
                mirrored += 1
            else:
                np.testing.assert_array_equal(image, plain[key])
            total += 1
    assert 0.4 < mirrored / total < 0.6


def spoil(folder, pictures, size):
    """Overwrite the image bytes of the records of `pictures`, (identity, index), with zeros."""
    content = (folder / "train.rec").read_bytes()
    for identity, index in pictures:
        picture = jpeg(draw(identity, index, size))
        assert content.count(picture) == 1
        content = content.replace(picture, b"\0" * len(picture))
    (folder / "train.rec").write_bytes(content)


def test_a_record_that_does_not_decode_is_named_once_and_replaced(tmp_path, caplog):
    folder = write_training_set(tmp_path, identities=3, images=4)
    spoil(folder, [(1, 2)], size=112)
    dataset = open_dataset(folder)
    got = batches(dataset, 12)
    assert all(7 not in batch.keys for batch in got)  # keys begin at 1, identity 1 at key 5
    assert caplog.text.count("record 7 of") == 1
    for batch in got:
        positions = [int(np.flatnonzero(dataset.keys == key)[0]) for key in batch.keys]
        np.testing.assert_array_equal(batch.labels, dataset.labels[positions])


def test_a_replacement_is_one_of_the_chosen_images(tmp_path):
    folder = write_training_set(tmp_path, identities=3, images=4, size=32)
    spoil(folder, [(1, 2), (2, 1)], size=32)
    dataset, chosen = open_dataset(folder), np.arange(4, 12)  # identity 0 is left out, as by images_filter
    loader = BatchLoader(dataset, chosen, LoaderSpec(8, seed=1, augmentation=PLAIN))
    try:
        seen = np.concatenate([loader.next().keys for _ in range(12)])
    finally:
        loader.close()
    assert set(seen) == set(dataset.keys[chosen]) - {7, 10}


def test_bad_records_are_counted_where_they_are_met_and_a_resumed_loader_continues_the_same(tmp_path, caplog):
    folder = write_training_set(tmp_path, identities=3, images=4, size=32)
    spoil(folder, [(0, 1), (2, 3)], size=32)
    dataset = open_dataset(folder)
    augmentation = Augmentation(mirror=True, cutoff=9, color=2)
    whole = batches(dataset, 12, augmentation=augmentation)
    assert sorted(key for batch in whole for key in batch.bad) == [2, 12]
    first = next(number for number, batch in enumerate(whole) if batch.bad)
    assert list(whole[first].keys) != list(dataset.keys[EndlessOrder(12, 1).take(4 * first, 4)])
    for workers in (1, 3):
        caplog.clear()
        resumed = batches(dataset, 6, augmentation=augmentation, position=24, threads=workers, bad=[2, 12])
        assert not any(batch.bad for batch in resumed) and not caplog.text
        for expected, got in zip(whole[6:], resumed):
            np.testing.assert_array_equal(got.keys, expected.keys)
            np.testing.assert_array_equal(got.images, expected.images)


@pytest.mark.parametrize("known", [[], range(1000, 1040)])
def test_too_many_bad_records_stop_the_run_even_when_it_was_resumed_in_between(tmp_path, known):
    folder = write_training_set(tmp_path, identities=4, images=25, size=32)
    spoil(folder, [(identity, index) for identity in range(3) for index in range(20)], size=32)
    with pytest.raises(RunError, match="5[1-9] records of .*recordio_tools check"):
        batches(open_dataset(folder), 100, bad=known, batch=1)


@pytest.mark.parametrize("read, most", [(100, 50), (5200, 52), (10_000, 100), (10 ** 9, 100)])
def test_too_many_are_one_percent_of_the_images_that_were_read_each_counted_once(dataset, read, most):
    loader = BatchLoader(dataset, np.tile(np.arange(20), 500), LoaderSpec(4))  # 10,000 images
    try:
        assert len(loader._count_bad(dict.fromkeys(range(1000, 1000 + most), "fault"), read)) == most
        assert loader._count_bad({1000: "fault"}, read) == ()
        with pytest.raises(RunError, match=f"{most + 1} records of .* more than 1% of those read"):
            loader._count_bad({999: "fault"}, read)
    finally:
        loader.close()


def test_nothing_that_decodes_ends_the_run_with_one_line(tmp_path):
    folder = write_training_set(tmp_path, identities=2, images=3)
    opened = open_dataset(folder)
    content = (folder / "train.rec").read_bytes()
    (folder / "train.rec").write_bytes(content.replace(b"\xff\xd8\xff", b"\0\0\0"))
    with pytest.raises(RunError, match="recordio_tools check"):
        batches(opened, 1)  # the file was changed after it was opened
    loader = BatchLoader(opened, np.arange(6), LoaderSpec(4))
    for _ in range(3):  # who asks again does not wait for ever
        with pytest.raises(RunError, match="recordio_tools check"):
            loader.next()
    loader.close()
    with pytest.raises(RunError, match="check|closed"):
        loader.next()
    with pytest.raises(UserError, match="recordio_tools check"):
        open_dataset(folder)


@pytest.mark.parametrize("end", ["an error", "close"])
def test_threads_that_wait_for_a_batch_all_learn_that_none_will_come(dataset, monkeypatch, end):
    """Any of them may get the error itself; the others must not wait for ever."""
    closing = threading.Event()

    def finish(loader, *batch):
        closing.wait()
        raise RunError("cannot be read")
    monkeypatch.setattr(BatchLoader, "_finish", finish)
    loader, waiting = BatchLoader(dataset, np.arange(20), LoaderSpec(4)), threading.Semaphore(0)
    get = loader._batches.get

    def counted_get(timeout=None):
        if timeout is None:
            waiting.release()
        return get(timeout=timeout)
    monkeypatch.setattr(loader._batches, "get", counted_get)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(loader.next) for _ in range(4)]
        for _ in asked:
            waiting.acquire()  # each is about to wait
        if end == "close":
            ending = threading.Thread(target=loader.close)
            ending.start()
        closing.set()
        said = {str(thread.exception()) for thread in asked}
    if end == "close":
        ending.join()
    assert said <= {"cannot be read", "the loader is closed: no batch will come"}
    loader.close()


def test_images_filter_leaves_out_small_identities_and_keeps_the_numbers(dataset):
    assert len(choose_images(dataset, 4)) == 20
    with pytest.raises(UserError, match="`images_filter` 5: leaves none of 5 identities"):
        choose_images(dataset, 5)


def test_images_filter_down_to_one_identity_is_refused(tmp_path):
    folder = write_training_set(tmp_path, identities=3, images=2, size=32)
    opened = open_dataset(folder)
    few = dataclasses.replace(opened, keys=opened.keys[:5], labels=opened.labels[:5], sizes=opened.sizes[:5])
    assert len(choose_images(few, 2)) == 4
    few = dataclasses.replace(opened, keys=opened.keys[1:4], labels=opened.labels[1:4], sizes=opened.sizes[1:4])
    with pytest.raises(UserError, match="leaves one of 2 identities.*2 and 1 images"):
        choose_images(few, 2)
