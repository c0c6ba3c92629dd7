"""What a page of the documentation has to be run: its code blocks, in order.

A reader follows a page from top to bottom, and so do the tests:

- a block with a title is a file, which is written to the page's folder;
- a `console` block is typed into a terminal. What follows `$ ` is a command, `^C` is the key, and
  all other lines are what is printed. A line `...` stands for any lines, and within a line for any
  text; at the end of a block it says that the command goes on. While a command goes on, the next
  one is typed into another terminal, and a block without a command is what the first prints now.
  The number 4242 stands for the process that has printed its number there;
- a `python` block without a title is a program of its own; a `text` block right after it is its
  output;
- a comment `<!-- not run: reason -->` before a block says why it is not run; `<!-- long -->`, that
  it is run with `--long` only.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)(?P<rest>[^`\n]*)$")
TITLE = re.compile(r'title="([^"]+)"')
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
LONG = "<!-- long -->"
PICTURES = {"text"}
OUTPUT = "output"


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        line: Its number in the page.
        language: What stands behind the fence.
        title: The name of the file, if it is one.
        text: What is in it.
        reason: Why it is not run, if so.
        long: Whether it takes so long that it is run with `--long` only.
        follows: Whether nothing but empty lines are between it and the block before.
    """

    line: int
    language: str
    title: str | None
    text: str
    reason: str | None
    long: bool
    follows: bool

    @property
    def is_run(self) -> bool:
        """Whether it does something, rather than shows something."""
        return self.reason is None and (self.title is not None or self.language not in PICTURES)


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page."""
    found: list[Block] = []
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    reason, long, follows = None, False, False
    for number, line in lines:
        if match := FENCE.match(line):
            indent = match["indent"]
            inside = []
            for _, text in lines:
                if text.strip() == "```":
                    break
                inside.append(text.removeprefix(indent))
            title = TITLE.search(match["rest"])
            name = title[1] if title and title[1] != OUTPUT else None
            body = "\n".join(inside) + "\n"
            found.append(Block(number, match["language"], name, body, reason, long, follows))
            reason, long, follows = None, False, True
        elif line.strip():
            comment = NOT_RUN.search(line)
            reason, long, follows = comment[1] if comment else None, LONG in line, False
    return found


@dataclasses.dataclass(frozen=True)
class Step:
    """Something that is typed, and what is printed then.

    Attributes:
        typed: A command, None for CTRL-C, or nothing at all.
        expected: The lines that are printed.
        goes_on: Whether the command is still running then.
    """

    typed: str | None
    expected: tuple[str, ...]
    goes_on: bool


def steps(block: Block) -> list[Step]:
    """Return the steps of a `console` block."""
    parts: list[tuple[str | None, list[str]]] = []
    lines = block.text.splitlines()
    for line in lines:
        if line.startswith("$ ") or line == "^C":
            parts.append((line[2:] if line != "^C" else None, []))
        elif parts and parts[-1][0] is not None and parts[-1][0].endswith("\\"):
            parts[-1] = (f"{parts[-1][0]}\n{line}", [])
        elif parts:
            parts[-1][1].append(line)
        else:
            parts.append(("", [line]))
    found = []
    for place, (typed, expected) in enumerate(parts):
        last = place == len(parts) - 1
        followed_by_key = not last and parts[place + 1][0] is None
        stays = typed is not None and last and expected[-1:] == ["..."]
        goes_on = followed_by_key or stays
        found.append(Step(typed, tuple(expected), goes_on))
    return found
