"""synth: a folder in use, numbers that make no set, and a failure on the way."""
from __future__ import annotations

import pytest
from synth_cases import contents

from common.errors import RunError, UserError
from synth.generate import generate


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        generate(tmp_path / "out", 2, 1, 0, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        generate(tmp_path / "file", 2, 1, 0, 0)
    assert contents(tmp_path) == {"out/mine.txt": b"mine", "file": b""}


@pytest.mark.parametrize("identities, people, flag", [(2, 19, "`verify_identities` 19"), (0, 0, "nothing to render"),
                                                      (2, 1000, "`verify_identities` 1000")])
def test_numbers_that_make_no_set(tmp_path, identities, people, flag):
    with pytest.raises(UserError, match=flag):
        generate(tmp_path / "out", identities, 2, people, 0)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("synth.album._write", fail)
    with pytest.raises(RunError, match="out: the disk is full"):
        generate(tmp_path / "out", 2, 2, 0, 0, workers=1)
    assert not list(tmp_path.iterdir())
