"""Progress of a long command: a bar on a terminal, a line elsewhere, nothing for fast operations."""

from __future__ import annotations

from nablafx_core.progress import progress


def test_what_is_quick_shows_nothing(capsys):
    with progress("Examining", 10) as advance:
        for _ in range(10):
            advance(1)
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_says_so_once_on_stderr(capsys):
    with progress("Examining 3,000 recordings", 10, patience=0) as advance:
        for _ in range(9):
            advance(1)
    assert capsys.readouterr() == ("", "Examining 3,000 recordings …\n")


def test_a_terminal_is_given_a_bar_that_goes_away(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress("Examining [b]", 10, patience=0) as advance:
        advance(5)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Examining [b]" in err
    assert "50%" in err
