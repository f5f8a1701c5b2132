"""README.md, CONTRIBUTING.md and docs/: the parsers take every command in them; links, anchors and flags exist."""
import importlib
import re
import shlex

import pytest
from repository import REPO

from common import cli
from common.settings import flag_name
from training.config import Config
from training.option import flags

PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
COMMAND = re.compile(r"python (?:-m (?P<module>[\w.]+)|train_softmax\.py)(?P<words>.*)")
PARSED = ("train_softmax", "recordio_tools", "eval", "deploy", "study", "training.launch", "training.selftest")
# InsightFace's scripts, im2rec, trtexec, docker, pip, Horovod
OF_OTHERS = {"--margin", "--beta", "--gamma", "--use-deformable", "--dataset", "--loss", "--gpu", "--nfolds",
             "--chunks", "--onnx", "--fp16", "--gpus", "--no-deps", "--gloo"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*(?![\w-])")


class Parsed(Exception):
    """The parser took the words."""


def commands(page):
    """(line, module, words) of every command that stands in a block of the page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("    ") and not lines[number - 2].endswith("\\"):
            while line.endswith("\\"):
                number, line = number + 1, line[:-1] + lines[number]
            for found in COMMAND.finditer(line):
                words = re.split(r" (?:> |\|)|; ", found["words"])[0]
                yield number, found["module"] or "train_softmax", [
                    word for word in shlex.split(words, comments=True) if word != "..."]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_parsers_take_every_command(page, monkeypatch, capsys):
    parse = cli.Parser.parse_args

    def parse_only(self, *more):
        parse(self, *more)
        raise Parsed
    monkeypatch.setattr(cli.Parser, "parse_args", parse_only)
    for number, module, words in commands(page):
        if module in PARSED:
            main = importlib.import_module(module if module in ("train_softmax", "training.launch")
                                           else f"{module}.__main__").main
            try:
                main(words)
            except Parsed:
                continue
            except SystemExit:
                pytest.fail(f"{page.name}:{number} {module} {' '.join(words)}: {capsys.readouterr().err}")
            pytest.fail(f"{page.name}:{number} {module} {' '.join(words)}: not parsed")
        elif module.split(".")[0] != "pytest":
            assert importlib.util.find_spec(module), f"{page.name}:{number}"


def test_wrong_commands_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n\n    $ python -m eval verify --modle a,1 \\\n        --bins x.bin > out\n"
                    "    python train_softmax.py --lr 1\n")
    assert list(commands(page)) == [(4, "eval", ["verify", "--modle", "a,1", "--bins", "x.bin"]),
                                    (5, "train_softmax", ["--lr", "1"])]


def anchors(page):
    """The anchors of its headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
            for heading in re.findall("^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_flags_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("http"):
            name, _, anchor = link.partition("#")
            there = page.parent / name if name else page
            assert there.exists() and (not anchor or anchor in anchors(there)), link
    sources = "\n".join(path.read_text(encoding="utf-8") for folder in REPO.iterdir()
                        if (folder / "__init__.py").exists() for path in folder.rglob("*.py"))
    known = set(re.findall(rf'"({FLAG.pattern})"', sources)) | OF_OTHERS | {"--help"}
    known |= {name for field, flag in flags(Config).items() for name in (flag_name(field), flag.also)}
    assert set(FLAG.findall(text)) <= known
