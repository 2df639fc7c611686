from __future__ import annotations

import pytest

from tracker.errors import SettingError
from tracker.settings import Settings
from tracker.wiring.parts import check_partitions, config_of


def test_a_log_with_another_partition_count_than_what_was_folded_is_refused() -> None:
    folded = config_of(Settings(), ["shop.clicks/0"], 4)
    with pytest.raises(SettingError, match=r"journey\.events has 8 partitions, but Redis holds what was folded of 4"):
        check_partitions("journey.events", folded, 8)


def test_the_same_count_or_nothing_folded_yet_is_fine() -> None:
    check_partitions("journey.events", config_of(Settings(), ["shop.clicks/0"], 4), 4)
    check_partitions("journey.events", None, 4)
