"""One process at a time for one file: what is said when it cannot be held."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from payments_core_app.cli import cli
from payments_core_app.single import OneAtATime, TakenError, one_server


def test_a_lock_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "none" / "db.serving"
    with pytest.raises(TakenError, match="cannot be written: No such file or directory") as refused:
        OneAtATime(file, "somebody holds it").acquire()
    assert str(file) in str(refused.value)


def test_a_file_is_held_by_whichever_symbolic_link_it_was_named(tmp_path: Path) -> None:
    """Two servers would be two writers."""
    file, link, folder = tmp_path / "db.sqlite3", tmp_path / "link.sqlite3", tmp_path / "folder"
    file.touch()
    link.symlink_to(file)
    folder.symlink_to(tmp_path)
    with one_server(f"sqlite+aiosqlite:///{link}").acquire():
        for name in (file, link, folder / "db.sqlite3"):
            with pytest.raises(TakenError, match="SQLite has one writer"):
                one_server(f"sqlite+aiosqlite:///{name}").acquire()
    with one_server(f"sqlite+aiosqlite:///{file}").acquire():
        pass  # it was given back


def test_a_file_with_a_hard_link_is_refused_by_both_names(tmp_path: Path) -> None:
    """SQLite keeps its journal by name, so neither sees what the other has not yet moved into the file."""
    file, link = tmp_path / "db.sqlite3", tmp_path / "link.sqlite3"
    file.touch()
    link.hardlink_to(file)
    for name in (file, link):
        with pytest.raises(TakenError, match="hard link"):
            one_server(f"sqlite+aiosqlite:///{name}").acquire()
    link.unlink()
    with one_server(f"sqlite+aiosqlite:///{file}").acquire():
        pass  # one name is as it should be


def test_a_demo_in_a_folder_it_cannot_write_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = CliRunner().invoke(cli, ["demo"])
    assert done.exit_code == 2
    assert "cannot be written" in done.output
