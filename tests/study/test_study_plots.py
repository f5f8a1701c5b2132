"""The study's figures: what they draw, against numbers by hand, and the committed tables and figures."""
import re
from pathlib import Path

import pytest

from study import plots
from study.__main__ import main
from study.norm_maps import mean_norm_maps
from study.plan import PLANS
from study.tables import all_tables, read_results, references
from tests.study.test_study_tables import PLAN, write

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = re.compile(r"[-+]?\d+\.\d+")


@pytest.fixture
def folder(tmp_path):
    for seed, tpr, moved in ((1, 0.4, 0.1), (2, 0.6, 0.3)):
        write(tmp_path, "gnap-fasterfc", seed, tpr, 0.3, [tpr] * 4, moved)
    write(tmp_path, "gap-fasterfc", 1, 0.3, 0.35, [0.3, 0.3, 0.3, 0.5], 0.15)
    write(tmp_path, "gap-fasterfc", 2, 0.7, 0.35, [0.7] * 4, 0.35)
    return tmp_path


def drawn(figure):
    """(x, y) of every line of the first panel, points as lists."""
    return [[list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))]
            for line in figure.axes[0].get_lines()]


def test_a_difference_is_drawn_with_its_interval_and_its_seeds(folder):
    figure = plots._draw_differences(read_results(folder, PLAN), PLAN)
    nothing, limits, mean, seeds = drawn(figure)
    assert nothing[0] == [0, 0]
    assert limits[0] == pytest.approx([0, 9.25]) and limits[1] == [0, 0]  # of the draws 0, 0, 0, 0.1
    assert mean[0] == pytest.approx([0]) and seeds[0] == pytest.approx([-10, 10])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["gap-fasterfc"]


def test_what_misaligned_images_keep_is_drawn_by_system(folder):
    figure = plots._draw_misaligned(read_results(folder, PLAN), PLAN)
    (_, _), gap, (_, _), gnap = drawn(figure)
    assert gap == [pytest.approx([50]), [0]] and gnap == [pytest.approx([37.5]), [1]]  # of 50, 50 and of 25, 50
    assert figure.axes[0].get_title() == "shift 2 px"


def test_a_map_of_norms_is_drawn_for_each_side_of_each_system_the_top_of_the_face_first(folder):
    figure = plots._draw_norm_maps(read_results(folder, PLAN), PLAN)
    maps = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title() for panel in maps] == ["gap-fasterfc", "gnap-fasterfc", "", ""]
    assert [panel.get_ylabel() for panel in maps] == ["frontal", "", "profile", ""]
    for panel in maps:
        (image,) = panel.images
        assert image.get_array().tolist() == [[0.5, 0.75], [1.25, 1.75]] and panel.yaxis_inverted()
        assert image.get_clim() == (0.25, 1.75)


def test_the_same_scores_give_the_same_files(folder, capsys):
    for out in ("one", "two"):
        main(["plot", "fast", "--results", str(folder), "--out", str(folder / out)])
    names = [f"study-fast-{what}.svg" for what in ("differences", "misaligned", "norms")]
    assert [Path(line).name for line in capsys.readouterr().out.split()] == names * 2
    assert all((folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes() for name in names)


@pytest.mark.parametrize("plan", ["real", "drawn", "drawn-long"])
def test_the_committed_tables_are_those_of_the_committed_scores(plan):
    text = (DOCS / "study" / f"{plan}.md").read_text()
    now = "\n\n".join(all_tables(read_results(DOCS / "study", PLANS[plan]), PLANS[plan]))
    assert NUMBER.sub("0", now) == NUMBER.sub("0", text).rstrip("\n"), f"study table {plan} > docs/study/{plan}.md"
    assert [float(number) for number in NUMBER.findall(now)] == pytest.approx(
        [float(number) for number in NUMBER.findall(text)], abs=0.011)  # a last digit may round otherwise


@pytest.mark.parametrize("plan", ["real", "drawn"])
def test_the_committed_figures_have_every_system_of_the_scores(plan):
    figure = (DOCS / "figures" / f"study-{plan}-differences.svg").read_text()
    results = read_results(DOCS / "study", PLANS[plan])
    names = set(results) - set(references(PLANS[plan]).values())
    assert names and {name for name in names if f">{name}</text>" in figure} == names
    figure = (DOCS / "figures" / f"study-{plan}-norms.svg").read_text()
    assert [name for name in mean_norm_maps(results) if f">{name}</text>" not in figure] == []


@pytest.mark.parametrize("plan", ["real", "drawn", "drawn-long"])
def test_the_document_has_the_rates_of_the_committed_tables(plan):
    rows = [line for line in (DOCS / "study" / f"{plan}.md").read_text().split("## Every run")[0].splitlines()
            if line.startswith("| ")]
    lines = (DOCS / "pose-study.md").read_text().splitlines()
    assert len(rows) > 2 and [row for row in rows if row not in lines] == []
