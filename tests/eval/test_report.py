"""`python -m eval report`: the page, the numbers in it, and how a browser shows it."""
from __future__ import annotations

import argparse
import base64
import json
import re
from html.parser import HTMLParser

import cv2
import mxnet as mx
import numpy as np
import pytest
from browser import browse, find_browser
from small_nets import draw_parameters, gnap_symbol, small_symbol
from small_onnx import small_onnx
from small_sets import draw, jpeg, write_training_set, write_verification_set

from common.errors import UserError
from eval.__main__ import main
from eval.report.command import _gather
from eval.report.html import escape, table, tag
from eval.score_file import read_scores
from images.alignment import TEMPLATE

SIZE = 48
EVIL = "<b>&\"'x"


def save(folder, name, symbol, seed):
    arguments, auxiliary = draw_parameters(symbol, (SIZE, SIZE), seed)
    mx.model.save_checkpoint(str(folder / name), 1, symbol, arguments, auxiliary)
    return f"{folder / name},1"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two checkpoints, two sets of pairs and a folder by identity with poses; one name needs escaping."""
    folder = tmp_path_factory.mktemp("report")
    save(folder, "gnap", gnap_symbol(), 1)
    save(folder, f"plain{EVIL}", small_symbol(), 2)
    write_verification_set(folder / f"{EVIL}.bin", pairs=40, size=SIZE)
    write_verification_set(folder / "more.bin", pairs=30, size=SIZE, first=50)
    for person in range(6):
        for pose, numbers in (("frontal", range(3)), ("profile", range(3, 5))):
            (folder / "faces" / f"{person:03d}" / pose).mkdir(parents=True)
            for number in numbers:
                (folder / "faces" / f"{person:03d}" / pose / f"{number}.jpg").write_bytes(
                    jpeg(draw(300 + person, number, SIZE)))
    return folder


@pytest.fixture(scope="module")
def made(place):
    """The folder of a report of both models on everything."""
    out = place / "out"
    assert main(["report", "--json", f"{out}/other.json", "--model", f"{place}/gnap,1", f"{place}/plain{EVIL},1",
                 "--bins", f"{place}/{EVIL}.bin", f"{place}/more.bin", "--set", f"{place}/faces", "--between",
                 "frontal,profile", "--out", str(out),
                 "--fpr", "0.05,0.1", "--bootstrap", "20", "--devices", "cpu:0", "--shift", "0,3", "--rotate", "0",
                 "--scale", "1", "--faces", "2", "--hardest", "2"]) == 0
    return out


class Page(HTMLParser):
    """What a page holds: text, tags with their attributes, and whether every tag is closed."""

    VOID = {"meta", "link", "img", "br", "path", "use", "circle"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open, self.unbalanced = [], [], [], []
        self.feed(text)
        self.unbalanced += self._open

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in self.VOID:
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name):
        if name not in self.VOID and (not self._open or self._open.pop() != name):
            self.unbalanced.append(name)

    def handle_data(self, text):
        self.text.append(text)


def test_the_page_has_its_parts_and_makes_no_requests(made):
    text = (made / "index.html").read_text()
    page = Page(text)
    assert not page.unbalanced
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings == ["Table", "ROC", "Scores", "Hardest pairs", "All pairs", "Rates by pose", "Quality",
                        "Misaligned crops", "Local features"]
    assert "script" not in {name for name, _ in page.tags}
    for name, attributes in page.tags:
        for key in ("src", "href", "srcset", "data", "action", "xlink:href"):
            assert attributes.get(key, "#").startswith(("data:", "#")), (name, attributes)
    assert not re.findall(r"url\((?!#)", text) and "@import" not in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes["xlink:href"][1:] for _, attributes in page.tags if "xlink:href" in attributes}
    assert named <= set(ids)  # the markers of every chart are there
    assert len(re.findall("<figure>", text)) == len(re.findall('<div class="numbers">', text)) > 10


def test_foreign_names_stay_text(made):
    text = (made / "index.html").read_text()
    assert EVIL not in text and "<b>" not in text
    assert any(EVIL in part for part in Page(text).text)  # as it is called, once it is read


def test_every_picture_decodes(made):
    pictures = [attributes for name, attributes in Page((made / "index.html").read_text()).tags if name == "img"]
    assert len(pictures) > 30
    for attributes in pictures:
        data = np.frombuffer(base64.b64decode(attributes["src"].split(",", 1)[1]), np.uint8)
        height, width = cv2.imdecode(data, cv2.IMREAD_COLOR).shape[:2]
        assert (int(attributes["width"]), int(attributes["height"])) == (width, height) and attributes["alt"]


def test_its_numbers_are_those_of_verify(place, made):
    one, other = f"{place}/gnap,1", f"{place}/plain{EVIL},1"
    main(["verify", "--model", one, other, "--bins", f"{place}/more.bin", "--fpr", "0.05,0.1", "--json",
          f"{place}/verify.json", "--bootstrap", "20", "--devices", "cpu:0"])
    theirs, ours = (json.loads(path.read_text()) for path in (place / "verify.json", made / "report.json"))
    for model in (one, other):
        expected, found = theirs[model]["more"], ours[model]["more"]
        for name in ("accuracy", "eer", "auc", "threshold", "xnorm", "tpr_at_fpr", "false_accepts", "interval"):
            assert found[name] == pytest.approx(expected[name], abs=1e-5), name
        assert set(found.get("difference", ())) == set(expected.get("difference", ()))
    for name, change in theirs[other]["more"]["difference"].items():
        found = ours[other]["more"]["difference"][name]
        assert found["to"] == one and found["value"] == pytest.approx(change["value"], abs=1e-5)
        assert found["interval"] == pytest.approx(change["interval"], abs=1e-5)
    assert {change["to"] for change in ours[other][f"{place}/faces"]["difference"].values()} == {one}
    expected = theirs[one]["more"]
    faces = json.loads((made / "report.json").read_text())[f"{place}/gnap,1"][f"{place}/faces"]
    assert list(faces["tpr_at_fpr"]) == ["0.01", "0.001", "0.0001", "1e-05", "0.05", "0.1"]
    assert (made / "other.json").read_text() == (made / "report.json").read_text()
    text = re.sub("<[^>]*>", " ", (made / "index.html").read_text())
    assert f"{100 * expected['accuracy']:.2f}" in text and f"{100 * expected['eer']:.2f}" in text


@pytest.mark.skipif(find_browser() is None, reason="no Chromium is here to look at the page (Debian: chromium)")
def test_a_browser_shows_it_on_phone_desktop_and_paper(made, tmp_path):
    with browse(tmp_path) as tab:
        for width, dark, paper in ((390, False, False), (1280, True, False), (700, False, True)):
            tab.open(made / "index.html", width, dark=dark, paper=paper)
            assert tab.value("document.documentElement.scrollWidth") <= width
            assert tab.value("[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll, svg') && "
                             "one.getBoundingClientRect().right > innerWidth + 1).length") == 0
            assert tab.value("[...document.images].filter(one => !one.complete || !one.naturalWidth).length") == 0
            back = tab.value("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == dark
        assert tab.complaints == []
        assert {address.split(":")[0] for address in tab.requests} <= {"file", "data", "about"}


def test_the_papers_table_takes_the_reports_numbers(made, capsys):
    assert main(["table", str(made / "report.json"), "--cfp-fp", "more", "--fpr", "0.1", "--format", "csv"]) == 0
    assert "gnap,1" in capsys.readouterr().out


def test_an_onnx_file_is_reported_without_maps(place, tmp_path):
    small_onnx(tmp_path / "net.onnx", size=(SIZE, SIZE))
    main(["report", "--model", f"{tmp_path}/net.onnx", "--bins", f"{place}/more.bin", "--out", str(tmp_path / "o"),
          "--fpr", "0.1", "--bootstrap", "0", "--shift", "2", "--rotate", "0", "--scale", "1", "--faces", "1",
          "--hardest", "1"])
    text = (tmp_path / "o" / "index.html").read_text()
    assert "only checkpoints have accessible" in text and "net.onnx" in text


def test_a_packed_set_alone_has_all_pairs_and_says_that_no_pose_is_known(place, tmp_path):
    write_training_set(tmp_path / "data", identities=5, images=4, size=SIZE)
    main(["report", "--model", f"{place}/gnap,1", "--set", f"{tmp_path}/data", "--out", str(tmp_path), "--fpr", "0.1",
          "--bootstrap", "10", "--devices", "cpu:0", "--shift", "2", "--rotate", "0", "--scale", "1"])
    text = (tmp_path / "index.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == ["All pairs", "Rates by pose", "Quality", "Misaligned crops",
                                                  "Local features"]
    assert "30 genuine, 160 impostor" in text and "o pose is known" in text and "mean of 5 face" in text


def test_landmarks_tell_the_pose(place, tmp_path):
    lines = ["path," + ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")]
    for person in range(6):
        for pose, numbers in (("frontal", range(3)), ("profile", range(3, 5))):
            for number in numbers:
                points = TEMPLATE.copy()
                if pose == "profile":  # turned: the nose goes far to a side, the rest draws together
                    points = np.stack([56 + (points[:, 0] - 56) * 0.5, points[:, 1]], 1)
                    points[2, 0] += 22
                lines.append(",".join([f"{person:03d}/{pose}/{number}.jpg", *(f"{v:.2f}" for v in points.ravel())]))
    (tmp_path / "points.csv").write_text("\n".join(lines) + "\n")
    main(["report", "--model", f"{place}/gnap,1", "--set", f"{place}/faces", "--landmarks", f"{tmp_path}/points.csv",
          "--out", str(tmp_path), "--fpr", "0.1", "--bootstrap", "20", "--devices", "cpu:0", "--misaligned", "0",
          "--faces", "1"])
    text = (tmp_path / "index.html").read_text()
    groups = set(re.findall(r"yaw \d+-\d+", text))
    assert "yaw 0-15" in groups and len(groups) == 2
    slices = json.loads((tmp_path / "report.json").read_text())[f"{place}/gnap,1"][f"{place}/faces"]["poses"]["slices"]
    assert [one["genuine"] for one in slices] == [6 * 3, 6 * 3 * 2, 6]


def test_one_misaligned_pair_is_one_of_each_kind():
    from eval.report.misaligned import sample_of_pairs
    same = np.array([True, False] * 3)
    assert "2 pairs of" in sample_of_pairs(np.arange(12), same, lambda number: None, "s", 0.1, 1, 0, 0).what


def test_a_report_of_pairs_alone_misaligns_and_maps_their_images(place, tmp_path):
    main(["report", "--model", f"{place}/gnap,1", "--bins", f"{place}/more.bin", "--out", str(tmp_path), "--fpr", "0.1",
          "--bootstrap", "0", "--devices", "cpu:0", "--shift", "2", "--rotate", "0", "--scale", "1", "--faces", "1",
          "--hardest", "0"])
    headings = re.findall("<h2>(.*?)</h2>", (tmp_path / "index.html").read_text())
    assert headings == ["Table", "ROC", "Scores", "Misaligned crops", "Local features"]


def test_a_set_of_pairs_and_a_labelled_set_of_one_name_have_rows_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("faces", "other", "misaligned"):
        write_verification_set(tmp_path / f"{name}.bin", pairs=12, size=SIZE)
    asked = argparse.Namespace(bins=["faces.bin", "other.bin", "misaligned.bin"], folds=None, set="faces")
    assert [target.name for target in _gather(asked, None, None, []).sets] == ["faces.bin", "other", "misaligned.bin"]


@pytest.mark.parametrize("chosen", ["bins", "set"])
def test_flags_and_embeddings_files_as_other_commands_take_them(place, tmp_path, chosen):
    """Against verify and allpairs with the same flags; an embeddings file gives what its checkpoint gives."""
    common = ["--fpr", "0.1", "--bootstrap", "20", "--threshold", "1.1"]
    what = ["--bins", f"{place}/more.bin"] if chosen == "bins" else ["--set", f"{place}/faces", "--between",
                                                                     "frontal,profile"]
    small = ["--faces", "0", "--misaligned", "0", "--hardest", "0"]
    command, key, file = ("verify", "more", "more") if chosen == "bins" else ("allpairs", f"{place}/faces", "faces")
    for flags in ([], ["--pca", "3"]):
        assert main([command, "--model", f"{place}/gnap,1", *what, *common, *flags, "--embeddings", f"{tmp_path}/kept",
                     "--scores", f"{tmp_path}/theirs", "--json", f"{tmp_path}/other.json"]) == 0
        theirs = json.loads((tmp_path / "other.json").read_text())[f"{place}/gnap,1"][key]
        (npz,) = (tmp_path / "kept").glob("*.npz")
        for model in (f"{place}/gnap,1", str(npz)):
            main(["report", "--model", model, *what, *common, *flags, *small, "--out", str(tmp_path), "--scores",
                  f"{tmp_path}/ours"])
            ours = json.loads((tmp_path / "report.json").read_text())[model][key]
            assert ours["pca"] == theirs["pca"] and ours["eer"] == pytest.approx(theirs["eer"], abs=1e-6)
            assert ours["at_threshold"][0]["tpr"] == pytest.approx(theirs["at_threshold"][0]["tpr"])
            assert "At a threshold" in (tmp_path / "index.html").read_text()
            one, two = (read_scores(tmp_path / folder / f"{file}.csv") for folder in ("ours", "theirs"))
            assert np.array_equal(one.same, two.same) and abs(one.score - two.score).max() < 1e-4
            assert one.meta == two.meta and not one.unlike(two)
            assert one.meta["model"]["sha256"] == theirs["model_sha256"]
            assert one.meta["set"]["sha256"] and one.meta["pca"] == (3 if flags else 0)
            names = ("model_sha256", "set_sha256", "layer", "flip", "bootstrap", "seed")
            assert [ours[name] for name in names] == [theirs[name] for name in names]


@pytest.mark.parametrize("words, says", [
    (["--model", "M"], "nothing to report on"),
    (["--model", "x.npz", "--bins", "B"], "there is no such file"),
    (["--model", "x.npz", "--bins", "B", "--set", "x"], "report on that set alone"),
    (["--model", "M", "--bins", "B", "--pca", "2", "--threshold-from", "B"], "leave one out"),
    (["--model", "M", "--bins", "B", "--between", "a,b"], "--between a,b: is of the images of --set"),
    (["--model", "M", "--bins", "B", "--landmarks", "no.csv"], "--landmarks no.csv: is of the images of --set"),
    (["--model", "M", "--set", "S", "--folds", "5"], "--folds 5: all pairs of a set have no folds"),
    (["--model", "M", "--bins", "B", "--out", "B"], "is a file")])
def test_what_cannot_be_reported_is_reported_before_work(place, tmp_path, words, says):
    named = {"M": f"{place}/gnap,1", "B": f"{place}/more.bin"}
    with pytest.raises(UserError, match=says):
        main(["report", "--out", str(tmp_path / "o"), *(named.get(word, word) for word in words)])


def test_html_escapes_all_but_html():
    assert tag("p", "a<b>", title='"x"') == '<p title="&quot;x&quot;">a&lt;b&gt;</p>'
    assert escape(escape("<")) == "&lt;"
    assert "<th scope=\"row\">&lt;r&gt;</th><td>1 &amp; 2</td>" in table(["h"], [["<r>", "1 & 2"]])
    assert "\x1b" not in escape("\x1b[31m")
