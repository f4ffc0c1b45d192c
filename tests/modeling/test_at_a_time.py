"""How many rows are answered at a time."""

import pytest
from objects import make_dimensions

from loragrid.modeling.at_a_time import RowsAtATime, room_for_rows, row_bytes

SIZE = make_dimensions()


def at_a_time(rows, tokens=512, least=8, most=64):
    """With room for so many rows of so many tokens."""
    return RowsAtATime(SIZE, 2, (rows + 0.5) * row_bytes(SIZE, tokens, 2), least, most)


@pytest.mark.parametrize(("room", "rows"), [(1000, 64), (64, 64), (63, 56), (20, 16), (8, 8), (3, 8), (0, 8)])
def test_as_many_as_there_is_room_for_but_never_fewer_than_a_micro_batch(room, rows):
    assert at_a_time(room).of(512) == rows


def test_long_rows_are_fewer():
    assert at_a_time(32).of(256) > at_a_time(32).of(512) > at_a_time(32).of(1024)


def test_a_row_takes_its_keys_and_values_what_a_layer_computes_and_its_scores():
    # 32 layers × 2 × 4096 numbers of 2 bytes for each token: half a mebibyte.
    cache = 1000 * 2**19
    assert cache < row_bytes(SIZE, 1000, 2) < 1.5 * cache
    assert row_bytes(SIZE, 1000, 4) > 1.9 * row_bytes(SIZE, 1000, 2)


def test_a_model_of_which_nothing_is_known_is_given_micro_batches():
    assert RowsAtATime(None, 2, 1e12, 8, 64).of(10) == 8


def test_a_batch_is_what_its_longest_row_has_room_for():
    rows = at_a_time(32)
    assert rows.first([512] * 100) == 32
    assert rows.first([512] * 5) >= 5
    # Of rows in the order of their length, the last of a batch is its longest.
    lengths = sorted([64] * 40 + [300] * 50 + [512] * 40)
    batches, left = [], lengths
    while left:
        batches.append(left[: rows.first(left)])
        left = left[len(batches[-1]) :]
    assert [length for batch in batches for length in batch] == lengths
    assert all(len(batch) * row_bytes(SIZE, max(batch), 2) <= rows.room for batch in batches)
    assert len(batches[0]) > len(batches[-2])
    # What jobs are expected to take is no less than what the fullest batch does.
    fullest = max(len(batch) * row_bytes(SIZE, max(batch), 2) for batch in batches)
    assert fullest <= rows.bytes_of(512) <= rows.room
    assert at_a_time(0).bytes_of(512) == 8 * row_bytes(SIZE, 512, 2)
    assert at_a_time(1000).bytes_of(512) == 64 * row_bytes(SIZE, 512, 2)


def test_rows_leave_a_gpu_some_of_its_memory():
    assert room_for_rows(10e9) < 8e9
    assert room_for_rows(-1e9) == 0
