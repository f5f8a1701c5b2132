"""One reader of tables: what people's spreadsheets and scripts write, with and without a first line of names."""
import csv
import gzip
import io
import zipfile

import pytest
from recordio_cases import command, drawn_faces, packed_images, picture, write_image

from common.errors import UserError
from common.name_lookup import NameLookup
from common.tables import number, read_rows, read_table, whole_number
from images.alignment import TEMPLATE
from recordio_tools.records.identities import identity_table, read_identities
from training.cluster.hosts import read_hosts

ROWS = [("a b.jpg", "Ann"), ("c.jpg", "J\u00f6rg")]
COLUMNS = {"path": ("image_path",), "identity": ("label",)}


@pytest.mark.parametrize("text", [
    "identity|path|x\nAnn|a b.jpg|1,5\nJ\u00f6rg|c.jpg|\n",
    "sep=;\nImage Path;x;LABEL\na b.jpg;1,5;Ann\nc.jpg;;J\u00f6rg\n",
    "\"sep=\t\"\nlabel\tpath\nAnn\ta b.jpg\nJ\u00f6rg\tc.jpg\n",
    "image-path,Identity\na b.jpg,Ann\nc.jpg,J\u00f6rg", "\n\nPATH  label\n\"a b.jpg\"   Ann\nc.jpg J\u00f6rg  \n",
    ",image path,label\r\n0,a b.jpg,Ann\r\n1,c.jpg,J\u00f6rg\r\n"],
    ids=["bars", "sep and semicolons", "sep and tabs", "dashes", "blanks", "an index column"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_spreadsheets_write_them(tmp_path, text, encoding):
    (tmp_path / "t").write_bytes(text.encode(encoding))
    rows = list(read_table(tmp_path / "t", COLUMNS, "two columns"))
    assert [(row["path"], row["identity"]) for row in rows] == ROWS
    numbers = [int(row.where.rpartition(" ")[2]) for row in rows]
    lines = text.replace("\r\n", "\n").split("\n")
    assert all(row["identity"] in lines[number - 1] for number, row in zip(numbers, rows))


@pytest.mark.parametrize("line", ["7", "7 a b", "x a", "1234567890 a", "7.0 a", "\u0667 a"])
def test_a_line_of_a_list_that_is_none_is_named(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"\n 12   a \n{line}\n", encoding="utf-8")
    rows = read_rows(path, "list", "`number name`", str.split, whole_number, str)
    assert next(rows) == (f"{path}: line 2", [12, "a"])
    with pytest.raises(UserError, match="list.txt: line 3 is not `number name`$"):
        next(rows)


def test_a_first_line_that_is_not_text_is_shown_without_escapes(tmp_path):
    (tmp_path / "t").write_bytes(b"\x1b[2J\xff\xfe\x00x\n")
    with pytest.raises(UserError) as caught:
        list(read_table(tmp_path / "t", COLUMNS, "two columns"))
    assert "not two columns" in str(caught.value) and "\\x1b[2J" in str(caught.value)
    assert "\x1b" not in str(caught.value) and "\udcff" not in str(caught.value)


def workbook():
    """As Excel writes one, but for most of its parts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as book:
        book.writestr("[Content_Types].xml", "<Types/>")
        book.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
    return content.getvalue()


@pytest.mark.parametrize("content, message", [
    (workbook(), "a spreadsheet's workbook, not a text file; save it there as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "a spreadsheet's workbook"),
    (gzip.compress(b"path,identity\n"), "gzip-compressed, not a text file; unpack it first"),
    (b"<!DOCTYPE html>\n<title>404</title>\n", "a web page, not a text file, perhaps from a download that needs"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer")],
    ids=["workbook", "old workbook", "gzip", "page", "pointer"])  # contents hold times, which differ by process
@pytest.mark.parametrize("argv", [("pack", "{}", "OUT", "--csv", "FILE"), ("pack", "{}", "OUT", "--lst", "FILE"),
                                  ("pairs", "lfw", "--images", "{}", "--pairs", "FILE", "--out", "OUT"),
                                  ("align", "{}", "OUT", "--landmarks", "FILE")])
def test_a_file_of_another_kind_is_named_with_the_way_out(tmp_path, content, message, argv):
    (tmp_path / "list").write_bytes(content)
    words = {"{}": drawn_faces(tmp_path / "f", 2, 1), "OUT": tmp_path / "out", "FILE": tmp_path / "list"}
    status, line = command(*(words.get(word, word) for word in argv))
    assert status == 2 and f"list: is {message}" in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("first", [
    "file_name,class_id", "SUBJECT_ID,FILE", "img_path;person_id", "image_id,identity_id", "File Path,Class ID"])
def test_pack_takes_the_names_that_data_sets_give_their_columns(tmp_path, first):
    faces = drawn_faces(tmp_path / "f", 3, 2)
    mark = ";" if ";" in first else ","
    paths = sorted(faces.rglob("*.jpg"))
    rows = [[str(path.relative_to(faces)), path.parent.name][::-1 if "SUBJECT" in first else 1] for path in paths]
    (tmp_path / "t.csv").write_text("\n".join([first, *map(mark.join, rows)]))
    assert command("pack", faces, tmp_path / "out", "--csv", tmp_path / "t.csv") == (0, "")
    assert packed_images(tmp_path / "out") == [path.read_bytes() for path in paths]
    assert list(read_identities(tmp_path / "out/identities.csv").values()) == ["person0", "person1", "person2"]


def test_a_folder_named_by_a_script_with_windows_line_ends(tmp_path):
    faces = drawn_faces(tmp_path / "f", 3, 2)
    (faces / "person1").rename(faces / "person1\r")
    assert command("pack", faces, tmp_path / "set") == (0, "")
    for argv in (("check", tmp_path / "set"), ("unpack", tmp_path / "set", tmp_path / "out"),
                 ("merge", tmp_path / "merged", tmp_path / "set")):
        assert command(*argv) == (0, "")
    for name in ("set", "out", "merged"):
        assert list(read_identities(tmp_path / name / "identities.csv").values()) == ["person0", "person1\r", "person2"]


@pytest.mark.parametrize("text", [
    "p0/0.jpg,a\np1/0.jpg,b\n", "b p1/0.jpg\na p0/0.jpg\n", "sep=;\na;p0/0.jpg\nb;p1/0.jpg\n"])
def test_pack_takes_a_table_without_a_first_line(tmp_path, text):
    drawn_faces(tmp_path, 2, 1)
    for place in range(2):
        (tmp_path / f"person{place}").rename(tmp_path / f"p{place}")
    (tmp_path / "t.csv").write_text(text)
    assert command("pack", tmp_path / "t.csv", tmp_path / "out")[0] == 0
    assert packed_images(tmp_path / "out") == [(tmp_path / f"p{number}/0.jpg").read_bytes() for number in range(2)]
    assert read_identities(tmp_path / "out/identities.csv") == {0: "a", 1: "b"}
    (tmp_path / "t.csv").write_text("p0/0.jpg,p1/0.jpg\n")  # either may be the path
    status, line = command("pack", tmp_path / "t.csv", tmp_path / "no")
    assert status == 2 and "t.csv: line 1 is 'p0/0.jpg,p1/0.jpg', not a first line" in line


def test_pairs_without_a_first_line(tmp_path):
    drawn_faces(tmp_path, 3, 2)
    (tmp_path / "p.csv").write_text("person0/0.jpg;person0/1.jpg;1\nperson0/0.jpg;person1/1.jpg;0\n"
                                    "person1/0.jpg;person1/1.jpg;1\nperson2/0.jpg;person1/1.jpg;0\n")
    assert command("pairs", "csv", "--pairs", tmp_path / "p.csv", "--folds", 2, "--out", tmp_path / "x.bin")[0] == 0


@pytest.mark.parametrize("text, expected", [
    ("Identity;Label\nAnn;0\nBob;2\n", {0: "Ann", 2: "Bob"}), ("0,Ann\n1,Bob\n", {0: "Ann", 1: "Bob"}),
    ("0\t0001\t7\n1\t0002\t5\n", {0: "0001", 1: "0002"}), ("Ann,1\nBob,0\n", {1: "Ann", 0: "Bob"}),
    ("sep=,\nname,class\n Ann,0\n", {0: " Ann"})])
def test_identities_of_any_table(tmp_path, text, expected):
    (tmp_path / "identities.csv").write_bytes(text.encode("utf-16"))
    assert read_identities(tmp_path / "identities.csv") == expected
    names = [" a", "b;c", "d,\"e\"", "J\u00f6\udcff", "of a script with Windows' line ends\r", "a\nb", "a\r\nb", "\r"]
    (tmp_path / "identities.csv").write_bytes(identity_table((name, 1) for name in names))
    assert list(read_identities(tmp_path / "identities.csv").values()) == names


@pytest.mark.parametrize("text", [
    "Ann,Bob\n", "3,4\n5,6\n", "label,identity\nx,Ann\n", "label,identity\n0,a\n0,b\n", ""])
def test_identities_that_are_none(tmp_path, text):
    (tmp_path / "identities.csv").write_text(text)
    with pytest.raises(UserError, match="identities.csv.*; correct it, or remove it: the identities then"):
        read_identities(tmp_path / "identities.csv")


def test_a_list_of_names_alone_excludes_them(tmp_path):
    drawn_faces(tmp_path / "faces", 4, 1)
    assert command("pack", tmp_path / "faces", tmp_path / "set")[0] == 0
    (tmp_path / "x.csv").write_text("Person1\n\nperson3\n")
    assert command("merge", tmp_path / "out", tmp_path / "set", "--exclude", tmp_path / "x.csv")[0] == 0
    assert list(read_identities(tmp_path / "out/identities.csv").values()) == ["person0", "person2"]


def test_lists_in_code_page_1252_name_files_in_unicode(tmp_path):
    (tmp_path / "Jos\u00e9 M\u00fcller").mkdir()
    (tmp_path / "Jos\u00e9 M\u00fcller/1.JPG").write_bytes(b"x")
    written = "Jos\u00e9 M\u00fcller/1.jpg".encode("cp1252")
    found = NameLookup().find(tmp_path / written.decode("utf-8", "surrogateescape"))
    assert found == str(tmp_path / "Jos\u00e9 M\u00fcller/1.JPG")
    table = io.StringIO()
    csv.writer(table).writerows([["path", "identity"], ["fa\u00e7ade/0.jpg", "a"], ["fa\u00e7ade/1.jpg", "b"]])
    (tmp_path / "t.csv").write_bytes(table.getvalue().encode("cp1252"))
    drawn_faces(tmp_path, 1, 2)
    (tmp_path / "person0").rename(tmp_path / "fa\u00e7ade")
    assert command("pack", tmp_path / "t.csv", tmp_path / "out")[0] == 0
    assert packed_images(tmp_path / "out") == [
        (tmp_path / f"fa\u00e7ade/{number}.jpg").read_bytes() for number in range(2)]


def test_blanks_around_names_are_found_by_every_reader(tmp_path):
    """A folder and a file with blanks in front of their names, and a file with one behind it."""
    names = [" Ann/ 0.jpg", " Ann/1.jpg ", "Bob/ 0.jpg", "Bob/1.jpg"]
    for place, name in enumerate(names):
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "x.jpg", picture(place)).rename(tmp_path / "f" / name)
    people = [name.split("/")[0].strip() for name in names]
    row = [f"{name},{person}\n" for name, person in zip(names, people)]
    for kind, lines in {"a.csv": ["path,identity\n", *row], "b.csv": row,
                        "c.csv": ["identity,path\n", *(f"{person},{name}\n" for name, person in zip(names, people))],
                        "d.lst": [f"1\t{name}\t{person}\n" for name, person in zip(names, people)],
                        "e.lst": [f"{place}\t{place // 2}\t{name}\n" for place, name in enumerate(names)]}.items():
        (tmp_path / "f" / kind).write_text("".join(lines))
        assert command("pack", tmp_path / "f" / kind, tmp_path / kind) == (0, "")
        assert packed_images(tmp_path / kind) == [(tmp_path / "f" / name).read_bytes() for name in names]
    (tmp_path / "f/p.csv").write_text(f"{names[0]},{names[1]},1\n{names[0]},{names[2]},0\n"
                                      f"{names[2]},{names[3]},1\n{names[1]},{names[3]},0\n")
    for kind in ("csv", "list"):
        assert command("pairs", kind, "--pairs", tmp_path / "f/p.csv", "--images", tmp_path / "f", "--out",
                       tmp_path / f"{kind}.bin", "--folds", 2)[0] == 0
    points = ",".join(map(str, TEMPLATE.ravel()))
    (tmp_path / "l.csv").write_text("".join(f"{name},{points}\n" for name in names))
    assert command("align", tmp_path / "f", tmp_path / "crops", "--landmarks", tmp_path / "l.csv") == (0, "")
    assert len(list((tmp_path / "crops").glob("*/*.jpg"))) == 4


def test_a_file_of_exactly_the_name_goes_before_one_with_blanks(tmp_path):
    for name in ("1.jpg", " 1.jpg", " 2.jpg", "2.jpg "):
        (tmp_path / name).write_bytes(b"x")
    means = {"1.jpg": "1.jpg", " 1.jpg": " 1.jpg", " 1.JPG": None, "2.jpg": None, " 2.jpg": " 2.jpg"}
    for name, found in means.items():
        assert NameLookup().find(name, tmp_path) == (found and str(tmp_path / found))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-8"])
def test_hosts_saved_by_a_windows_editor(tmp_path, encoding):
    (tmp_path / "hosts").write_bytes("node1 slots=2\r\n# none\r\nnode2\r\n".encode(encoding))
    assert [(host.name, host.slots) for host in read_hosts(str(tmp_path / "hosts"))] == [("node1", 2), ("node2", 1)]


@pytest.mark.parametrize("text, value", [("12", 12), ("+5", 5), ("-0.5", -0.5), (".5", 0.5), (" 1e-3 ", 1e-3),
                                         ("3.", 3)])
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "\u00b2", "1_000", "nan", "inf", "-Infinity", "1e400", "\uff11\uff12", "0x10",
                                  "1,5", "9" * 5000, "1e", "--1", "\u0661"])
def test_what_is_not_a_number(text):
    for kind in (number, whole_number):
        with pytest.raises(ValueError):
            kind(text)
