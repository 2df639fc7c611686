from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import murmur2

from tracker.wire.partition import _hash, partition_of


@pytest.mark.parametrize(
    ("key", "java"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_kafkas_own_tests_give_it(key: bytes, java: int) -> None:
    assert _hash(key) == java % (1 << 32)


def test_keys_of_every_length_go_where_other_clients_send_them() -> None:
    random_ = random.Random(1)
    for size in range(400):
        key = random_.randbytes(size)
        assert partition_of(key, 7) == (murmur2(key) & 0x7FFFFFFF) % 7
