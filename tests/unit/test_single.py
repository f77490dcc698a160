"""One process at a time for one file: what is said when it cannot be held."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from payments_core_app.cli import cli
from payments_core_app.single import OneAtATime, TakenError


def test_a_lock_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "none" / "db.serving"
    with pytest.raises(TakenError, match="cannot be written: No such file or directory") as refused:
        OneAtATime(file, "somebody holds it").acquire()
    assert str(file) in str(refused.value)


def test_a_demo_in_a_folder_it_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = CliRunner().invoke(cli, ["demo"])
    assert done.exit_code == 2
    assert "cannot be written" in done.output
