"""Execute the guide to writing a pack: write its files, run its commands, and compare their output."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from installing import CHECKOUT, Elsewhere
from nablafx_core.registry.kinds import KINDS

pytestmark = pytest.mark.slow

GUIDE = CHECKOUT / "docs" / "packs.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: pip as a reader calls it, without downloads.
PIP = """#!{python}
import sys
from pip._internal.cli.main import main

build = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet"] if sys.argv[1] in ("install", "wheel") else []
sys.exit(main([*sys.argv[1:], *build, "--disable-pip-version-check"]))
"""


@dataclass(frozen=True)
class Block:
    """Fenced block: its first line, its language and its content."""

    line: int
    language: str
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    for match in FENCE.finditer(markdown):
        yield Block(markdown.count("\n", 0, match.start()) + 1, match[1], match[2])


def fits(expected: str, found: str) -> bool:
    """Return whether the output is as expected; … stands for any text in a line, and alone for any lines."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        anything = line.strip() == "…"
        pattern += r"(?:.*\n)*" if anything else ".*".join(map(re.escape, line.rstrip().split("…"))) + r"\s*\n"
    return re.fullmatch(pattern, found.rstrip() + "\n") is not None


class Reader:
    """Reader of the guide, who executes its blocks in a folder of an environment."""

    def __init__(self, elsewhere: Elsewhere) -> None:
        self.elsewhere = elsewhere
        self.folder = elsewhere.cwd
        self.output = ""

    def follow(self, block: Block) -> None:
        where = f"{GUIDE.name}:{block.line}"
        if block.language == "bash":
            for command in block.text.splitlines():
                self.run(command, where)
        elif block.language == "text":
            assert fits(block.text, self.output), f"{where}: it prints\n{self.output}"
        else:
            head, _, _ = block.text.partition("\n")
            assert block.language in ("python", "toml", "yaml") and head.startswith("# "), f"{where}: {head}"
            path = self.folder / head.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")

    def run(self, command: str, where: str) -> None:
        """Run one line in the shell, in the folder in which the line before ended."""
        place = self.elsewhere.cwd.parent / "place"
        script = f'{command}\nstatus=$?; pwd > "{place}"; exit $status'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.elsewhere.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        expected = re.search(r"# exits with (\d+)$", command)
        self.output = done.stdout
        assert done.returncode == int(expected[1] if expected else 0), f"{where}: {command}\n{self.output}"
        self.folder = Path(place.read_text().strip())


@pytest.fixture
def reader(tmp_path):
    elsewhere = Elsewhere(tmp_path)
    elsewhere.install("nablafx_core", "nablafx_models", "nablafx_dsp", "nablafx_data")
    elsewhere.fork_script("nablafx")
    pip = elsewhere.bin / "pip"
    pip.write_text(PIP.format(python=elsewhere.bin / "python"))
    pip.chmod(0o755)
    return Reader(elsewhere)


@pytest.mark.skipif(sys.platform == "win32", reason="the guide's commands are for a POSIX shell")
def test_the_guide_can_be_executed(reader):
    for block in blocks(GUIDE.read_text(encoding="utf-8")):
        reader.follow(block)


def test_every_block_is_executed():
    markdown = GUIDE.read_text(encoding="utf-8")
    assert markdown.count("```") == 2 * len(list(blocks(markdown))) > 20


def test_an_ellipsis_stands_for_any_output():
    assert fits("a … z\n…\nend", "a 1 2 z\nb\nc\nend\n")
    assert fits("…\nend", "end") and fits("head\n…", "head\n\nmore\n")
    assert not fits("a … z", "a z")
    assert not fits("a", "a\nb") and not fits("a\n…\nc", "a\nb") and not fits("a.c", "abc")


def test_the_links_of_the_guide_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", GUIDE.read_text(encoding="utf-8"))
    assert links and all((GUIDE.parent / link).exists() for link in links)


def test_the_table_of_the_guide_lists_every_kind_and_its_given_arguments():
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| (.*?) \| (.*) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row[:2] for row in rows] == [(kind.name, kind.hook) for kind in KINDS.values()]
    for (*_, what, given), kind in zip(rows, KINDS.values(), strict=True):
        assert kind.content or what == f"`{kind.interface.replace(':', '.')}`"
        written = [f"`{one.name}`: {one.what}{', unless written' * one.settable}" for one in kind.given]
        assert given == ("; ".join(written) or "nothing")
