"""The settings, documentation and messages of conditionings come from the table."""

from __future__ import annotations

from typing import get_args

import pytest

from nablafx_core.errors import ModelError
from nablafx_core.registry.settings import settings_of
from nablafx_models.conditioning.table import CONDITIONINGS
from nablafx_models.gcn import GCN
from nablafx_models.lstm import LSTM
from nablafx_models.s4 import S4
from nablafx_models.tcn import TCN


@pytest.mark.parametrize("architecture", [TCN, GCN, LSTM, S4])
def test_an_architecture_offers_the_rows_of_the_table_that_it_can_use(architecture):
    setting = settings_of(architecture)["conditioning"]
    offered = get_args(get_args(setting.annotation)[0])
    modulating = {name for name, row in CONDITIONINGS.items() if row.modulation}
    assert set(offered) == set(CONDITIONINGS) - (set() if architecture.modulates else modulating)
    assert all(f"``{name}`` {CONDITIONINGS[name].summary}" in setting.doc for name in offered if name != "none")
    with pytest.raises(ModelError) as error:
        architecture(conditioning="unknown")
    assert [word for word in (architecture.__name__, "'unknown'", *offered) if word not in str(error.value)] == []
