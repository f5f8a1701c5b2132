"""unpack, merge, check, repair and pairs: whatever stops them, nothing half made is left and what was there stays."""
import os
import resource
import signal
import subprocess
import sys

import pytest
from recordio_cases import command, drawn_faces
from repository import REPO
from small_sets import write_training_set, write_verification_set

from common import progress

# Where a progress bar counts the first images, this is told, and the work stands still.
SLOW = """
import sys, time
from common import cli
from recordio_tools import __main__
from common import progress
class Slow(progress.tqdm):
    def __iter__(self):
        for item in super().__iter__():
            self.stop()
            yield item
    def update(self, n=1):
        if n and self.desc != {passed!r}:
            self.stop()
        return super().update(n)
    def stop(self):
        print("at work", file=sys.stderr, flush=True)
        while True:  # a signal just before a long sleep would be noticed only after it
            time.sleep(0.1)
progress.tqdm = Slow
cli.run(__main__.main, "tools")
"""
COMMANDS = {
    "unpack a set": "unpack set OUT --overwrite", "unpack a bin": "unpack x.bin OUT --overwrite",
    "merge": "merge OUT set --overwrite", "repair": "check set --repair new",
    "repair a bin": "check x.bin --repair new",
    "check": "check set x.bin", "pairs csv": "pairs csv --pairs x/pairs.csv --out OUT/x.bin --overwrite",
    "pairs make": "pairs make set --overwrite --out OUT/x.bin --pairs 60 --folds 2 --csv OUT/drawn.csv"}
DONE = {"unpack a set": "unpack old OUT", "unpack a bin": "unpack old.bin OUT", "merge": "merge OUT old"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sets of 160 images, others of few that stand there before, and a table of pairs."""
    folder = tmp_path_factory.mktemp("data")
    write_training_set(folder / "set", identities=8, images=20)
    write_verification_set(folder / "x.bin", pairs=80)
    write_training_set(folder / "old", identities=2, images=2)
    write_verification_set(folder / "old.bin", pairs=10)
    assert command("unpack", folder / "x.bin", folder / "x") == (0, "")
    return folder


@pytest.fixture(params=COMMANDS)
def words(request, data, tmp_path):
    """(a command and its arguments, whose OUT is a folder that holds what was written there before; its name)."""
    out, new = tmp_path / "out", tmp_path / "made/new"

    def placed(text):
        return [str(data / word) if (data / word.split("/")[0]).exists() else
                word.replace("OUT", str(out)).replace("new", str(new)) for word in text.split()]

    if request.param in DONE:
        assert command(*placed(DONE[request.param])) == (0, "")
    else:
        write_verification_set(drawn_faces(out, 1, 1) / "x.bin", pairs=4)
    return placed(COMMANDS[request.param]), request.param


def tree(*folders):
    return {path: path.read_bytes() if path.is_file() else None for folder in folders for path in folder.rglob("*")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle(data, words, tmp_path, number):
    if number == signal.SIGTERM and words[1] in ("check", "unpack a bin", "repair a bin"):
        pytest.skip("the same way as another command")
    before = tree(data, tmp_path)
    code = SLOW.format(passed="check" if words[1] == "repair" else "")
    with subprocess.Popen([sys.executable, "-c", code, *words[0], "--workers", "2"], cwd=REPO, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.readline()
        assert said == "at work\n"
        if words[1] in ("unpack a set", "unpack a bin", "merge", "repair"):  # the others write when all is read
            assert [path for path in tree(tmp_path) if path.name.endswith(".tmp")]
        process.send_signal(number)
        said = process.communicate(timeout=600)[1]
    assert (process.returncode, said) == (130, "tools: interrupted\n")
    assert tree(data, tmp_path) == before


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_limit_on_the_size_of_files(data, words, tmp_path):
    if words[1] == "check":
        pytest.skip("writes nothing")
    before = tree(data, tmp_path)
    done = subprocess.run([sys.executable, "-m", "recordio_tools", *words[0]], cwd=REPO, capture_output=True, text=True,
                          preexec_fn=limited)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert ": cannot be written (File too large); what was there before was not touched" in done.stderr
    assert tree(data, tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk(data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)],
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for name, line in COMMANDS.items():
            out = disk / "a/out"
            if name in DONE:
                assert command(*[data / word if (data / word).exists() else word.replace("OUT", str(out))
                                 for word in DONE[name].split()]) == (0, "")
            out.mkdir(parents=True, exist_ok=True)
            before = tree(disk)
            argv = [data / word if (data / word.split("/")[0]).exists() else
                    word.replace("OUT", str(out)).replace("new", str(disk / "b/new")) for word in line.split()]
            status, said = command(*argv)
            if name == "check":
                assert (status, said) == (0, "")
            else:
                assert status == 1 and said.endswith("the disk is full; what was there before was not touched"), said
                assert str(disk) in said
            assert tree(disk) == before
            subprocess.run(["rm", "-rf", disk / "a"], check=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_killed_run_left_behind_goes_with_the_next(data, tmp_path):
    (tmp_path / ".out.999999999.tmp/0").mkdir(parents=True)
    (tmp_path / ".out.mine.tmp").mkdir()
    assert command("unpack", data / "old", tmp_path / "out") == (0, "")
    assert sorted(os.listdir(tmp_path)) == [".out.mine.tmp", "out"]


def test_what_was_there_comes_back_where_the_new_cannot_take_its_place(data, tmp_path, monkeypatch):
    assert command("unpack", data / "old", tmp_path / "out") == (0, "")
    before, rename = tree(tmp_path), os.rename

    def refuse(source, target):
        if str(source).endswith(".tmp") and str(target).endswith("out"):
            raise PermissionError(1, "Operation not permitted")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    status, line = command("unpack", data / "old", tmp_path / "out", "--overwrite")
    assert status == 1 and line.endswith("cannot be written (Operation not permitted); what was there before was not "
                                         "touched")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("sink", ["full", "gone"])
def test_work_continues_where_stderr_takes_nothing(tmp_path, sink):
    code = ("import logging, sys\nfrom common.cli import run, setup_logging\nfrom common.progress import meter\n"
            "from common.quiet import silence_libraries\n"
            "def main(argv):\n    setup_logging(); silence_libraries()\n    logging.info('x' * 100_000)\n"
            "    with meter(3, 'x', 'x') as bar:\n        bar.display(); bar.update(3)\n"
            "    print('told', file=sys.stderr); print('done')\nrun(main, 'demo')")
    reader, writer = os.pipe()
    os.close(reader)  # a write is EPIPE from now on
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True,
                              stderr=full if sink == "full" else writer)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("package", ["recordio_tools", "eval", "deploy"])
def test_what_a_library_writes_to_stderr_is_not_shown(package):
    code = ("import os, runpy\nfrom common import cli\n"
            "cli.run = lambda main, prog: os.write(2, b'Corrupt JPEG data: premature end of data segment')\n"
            f"runpy.run_module({package!r}, run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "FACES_STARTED_AGAIN": "1"})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_undisturbed_work_whichever_thread_takes_it(number):
    import threading
    import time

    from common.signals import stoppable, undisturbed
    end = threading.Event()
    other = threading.Thread(target=end.wait, daemon=True)  # as a progress bar has: it takes what the main one blocks
    other.start()
    done = False
    try:
        with stoppable(), pytest.raises(KeyboardInterrupt):
            with undisturbed():
                os.kill(os.getpid(), number)
                time.sleep(0.05)
                done = True
            raise AssertionError("the signal was lost")
    finally:
        end.set()
    assert done


def test_a_process_ends_with_the_one_that_started_it():
    code = """
import os, signal, time
from common.signals import ended_with_parent
os.setpgid(0, 0)
if os.fork() == 0:
    ended_with_parent(signal.SIGKILL)
    print("ready", flush=True)
    time.sleep(20)
    print("outlived it")
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPO) as process:
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b""  # which returns when both are gone


def test_a_progress_bar_that_is_interrupted_while_it_is_made_ends_silently():
    progress.tqdm.__new__(progress.tqdm).__del__()  # "Exception ignored in ... no attribute 'disable'"


@pytest.mark.parametrize("words", [["train_softmax.py"], *(["-m", name] for name in (
    "recordio_tools", "eval", "deploy", "study", "training.launch", "training.selftest"))])
def test_an_interrupt_while_a_command_imports_is_one_word_and_130(tmp_path, words):
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run([sys.executable, *words], cwd=REPO, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_program_that_imports_a_command_keeps_its_own_way_with_an_interrupt():
    code = ("import sys; hook = sys.excepthook\nimport train_softmax, training.launch, eval.__main__, deploy.__main__, "
            "recordio_tools.__main__\nassert sys.excepthook is hook\nraise KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and "Traceback" in done.stderr
