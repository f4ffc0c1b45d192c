import pytest

from loragrid.study.steps import steps_per_epoch, total_steps, validation_steps
from loragrid.training.order import WholeTraining, epoch_order

LENGTHS = [(7 * number) % 53 + 5 for number in range(103)]
BATCH = 8


def batches(order, size=BATCH):
    return [order[start : start + size] for start in range(0, len(order), size)]


def padding(order, size=BATCH):
    return sum(
        max(LENGTHS[r] for r in rows) * len(rows) - sum(LENGTHS[r] for r in rows) for rows in batches(order, size)
    )


def test_validations_are_at_equal_distances_or_after_each_epoch():
    assert validation_steps(12, 4, 3) == validation_steps(12, 4, "epoch") == {4, 8, 12}
    assert validation_steps(10, 4, "epoch") == {4, 8, 10}
    assert validation_steps(3, 4, "epoch") == {3}
    assert validation_steps(100, 30, 10) == set(range(10, 101, 10))
    assert validation_steps(2, 30, 10) == {1, 2}


@pytest.mark.parametrize("group", [True, False])
def test_the_order_is_a_pure_function_of_its_arguments(group):
    first = epoch_order(LENGTHS, BATCH, "key:1", 0, group=group)
    assert first == epoch_order(list(LENGTHS), BATCH, "key:1", 0, group=group)
    for seed, epoch in [("key:2", 0), ("other:1", 0), ("key:1", 1)]:
        assert epoch_order(LENGTHS, BATCH, seed, epoch, group=group) != first


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    assert epoch_order([1] * 10, 4, "key:1", 0, group=False) == [4, 6, 5, 7, 3, 2, 9, 1, 8, 0, 4, 6]


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 103])
def test_every_row_once_an_epoch_and_whole_batches(group, rows):
    order = epoch_order(LENGTHS[:rows], BATCH, "key:1", 3, group=group)
    assert len(order) == BATCH * steps_per_epoch(rows, BATCH)
    assert set(order) == set(range(rows))
    filled_up = len(order) - rows
    assert filled_up < BATCH
    if filled_up < rows:
        assert max(order.count(row) for row in set(order)) <= 2


def test_grouping_saves_most_of_the_padding_and_keeps_batches_mixed():
    plain = epoch_order(LENGTHS, BATCH, "key:1", 0, group=False)
    grouped = epoch_order(LENGTHS, BATCH, "key:1", 0, group=True)
    assert padding(grouped) < padding(plain) / 2
    longest = [max(LENGTHS[row] for row in rows) for rows in batches(grouped)]
    assert longest != sorted(longest)
    again = epoch_order(LENGTHS, BATCH, "key:1", 1, group=True)
    assert {frozenset(rows) for rows in batches(grouped)} != {frozenset(rows) for rows in batches(again)}


def test_micro_batches_and_processes_only_cut_the_order():
    whole = list(WholeTraining(LENGTHS, BATCH, 30, "key:1", group=True))
    cut = [micro for batch in batches(whole) for micro in batches(batch, 2)]
    of_two = [cut[process::2] for process in (0, 1)]
    for step, batch in enumerate(batches(whole)):
        seen = [row for process in of_two for micro in process[step * 2 : step * 2 + 2] for row in micro]
        assert sorted(seen) == sorted(batch)


def test_a_whole_training_is_its_epochs_one_after_the_other_and_may_end_within_one():
    training = WholeTraining(LENGTHS, BATCH, 20, "key:1", group=True)
    epochs = [row for epoch in (0, 1) for row in epoch_order(LENGTHS, BATCH, "key:1", epoch, group=True)]
    assert list(training) == epochs[: 20 * BATCH]
    assert len(training) == 160
    assert training.by_step(LENGTHS) == [sum(LENGTHS[row] for row in rows) for rows in batches(list(training))]


@pytest.mark.parametrize(
    ("epochs", "max_steps", "steps"), [(3, None, 39), (0.5, None, 6), (0.01, None, 1), (3, 5, 5), (1, 50, 50)]
)
def test_steps(epochs, max_steps, steps):
    assert total_steps(103, BATCH, epochs, max_steps) == steps
