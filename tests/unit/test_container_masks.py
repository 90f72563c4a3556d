"""What is hidden of /proc and /sys on a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy_runtime.container import masks


def test_how_hot_each_processor_ran_is_hidden_where_the_host_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cpu0/thermal_throttle", "cpu1", "cpu12/thermal_throttle", "cpufreq/thermal_throttle"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(masks, "_PROCESSORS", str(tmp_path))
    found = masks.masked_paths.__wrapped__()
    assert found[: len(masks.MASKED_PATHS)] == list(masks.MASKED_PATHS)
    assert found[len(masks.MASKED_PATHS) :] == [f"{tmp_path}/{name}/thermal_throttle" for name in ("cpu0", "cpu12")]
