"""Bad input gets a clear error with a place, the documented exit code and no traceback; the old tree stays."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Ended, Files, Run, in_process_of_its_own, pairing_text

from stowplan import write as writing
from stowplan.diagnostics import Refused
from stowplan.render.artifact import Artifact
from stowplan.write import INDEX, write

GOOD = {"variant": "deepseek-v4-flash", "server": "hgx-h200", "useCase": "chat"}
LINES = """\
apiVersion: stowplan/v1
kind: Pairing
metadata: {name: p}
spec:
  variant: deepseek-v4-flash
  server: hgx-h200
  useCase: chat
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)


def refused(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    assert ended.out == ""
    for word in words:
        assert word in ended.err


UNREADABLE = {
    "empty": (b"", "bad.yaml: error[P003]: holds no YAML document"),
    "comment": (b"# nothing\n", "bad.yaml: error[P003]: holds no YAML document"),
    "binary": (b"\x7fELF\x02\x01\x00\xff\xfe", "bad.yaml: error[P003]: is not UTF-8 text (byte 7 is 0xff)"),
    "nul": (b"a: \x00\n", "bad.yaml: error[P003]: is not YAML"),
    "50 MB": (b"a" * 50_000_000, "bad.yaml: error[P002]: is 50,000,000 bytes, more than the limit of 16,777,216"),
    "bomb": (BOMB.encode(), "bad.yaml:5:16: error[P005]: aliases expand to more than 50,000 values"),
    "deep": (b"[" * 5000, "bad.yaml:1:65: error[P005]: is nested deeper than 64 levels"),
    "syntax": (f"{LINES}  set: {{a: [}}\n".encode(), "bad.yaml:8:13: error[P003]: is not YAML"),
    "two documents": (f"{LINES}---\n{LINES}".encode(), "bad.yaml: error[P003]: holds 2 YAML documents"),
}
FINDINGS = {
    "variant": (LINES.replace("-flash", "-flsh"), "bad.yaml:5:12: error[P010]: unknown variant 'deepseek-v4-flsh'"),
    "server": (LINES.replace("hgx-h200", "hgx"), "bad.yaml:6:11: error[P010]: unknown server 'hgx'"),
    "field": (f"{LINES}  repicas: 2\n", "bad.yaml:8:3: error[P004]: unknown field 'repicas'"),
    "type": (f"{LINES}  nodes: two\n", "bad.yaml:8:10: error[P004]: expected a whole number, got the text 'two'"),
    "duplicate": (
        f"{LINES}  server: x\n",
        "bad.yaml:8:3: error[P006]: the key 'server' is given twice, first on line 6",
    ),
    "merge": (f"{LINES}  <<: {{nodes: 2}}\n", "bad.yaml:8:3: error[P007]: merge keys"),
    "tag": (f"{LINES}  site: !env x\n", "bad.yaml:8:9: error[P007]: the YAML tag !env is not read"),
    "path as a name": (
        LINES.replace("name: p", "name: ../../p"),
        "bad.yaml:3:18: error[P004]: '../../p' does not match",
    ),
    "list": ("- a\n", "bad.yaml:1:1: error[P004]: expected a mapping"),
}


@pytest.mark.parametrize("command", ["plan", "render", "explain"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_read_ends_with_2(
    kind: str, command: str, run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, words = UNREADABLE[kind]
    monkeypatch.chdir(write_files({"bad.yaml": content}))
    refused(run(command, "bad.yaml"), 2, words)
    assert not Path("manifests").exists()


@pytest.mark.parametrize("command", ["plan", "render", "explain"])
@pytest.mark.parametrize("kind", FINDINGS)
def test_a_finding_in_a_readable_file_ends_with_1(
    kind: str, command: str, run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, words = FINDINGS[kind]
    monkeypatch.chdir(write_files({"bad.yaml": content}))
    refused(run(command, "bad.yaml"), 1, words)
    assert not Path("manifests").exists()


@pytest.mark.parametrize("kind", {**UNREADABLE, **FINDINGS})
def test_check_finds_the_same_mistakes(
    kind: str, run: Run, write_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, words = {**UNREADABLE, **FINDINGS}[kind]
    monkeypatch.chdir(write_files({"bad.yaml": content}))
    ended = run("check", "bad.yaml")
    assert "Traceback" not in ended.err
    if kind == "two documents":
        assert ended.code == 0  # several documents are a fine thing to check
        return
    if kind in ("empty", "comment"):
        assert ended.code == 1
        assert "bad.yaml: error[M001]: holds no object" in ended.out
        return
    assert ended.code in (1, 2)
    assert kind == "list" or words.partition(" error")[0] in ended.out + ended.err


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    for command in ("plan", "render", "explain", "check"):
        refused(run(command, tmp_path / "none.yaml"), 2, f"{tmp_path}/none.yaml: error[P001]", "No such file")


def test_a_folder_is_no_pairing(run: Run, tmp_path: Path) -> None:
    for command in ("plan", "render"):
        refused(run(command, tmp_path), 2, "is a folder, a YAML file is expected")


def test_a_name_that_nothing_has_is_answered_with_the_nearest(run: Run) -> None:
    refused(run("plan", "v4-pro.atlas-800i-a3.serch"), 2, "did you mean 'v4-pro.atlas-800i-a3.search'?")


@pytest.mark.parametrize("arguments", [("plan",), ("list", "chips", "--profiles")])
def test_a_name_of_thousands_of_letters_is_refused(arguments: tuple[str, ...], run: Run) -> None:
    refused(run(*arguments, "a" * 5000), 2)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    limited = f"ulimit -v 3000000; exec '{sys.executable}' -m stowplan plan /dev/zero"
    ended = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "P002" in ended.stderr


def test_a_pairing_may_come_through_a_pipe() -> None:
    piped = f"'{sys.executable}' -m stowplan plan <(printf '%s' \"$PAIRING\") -o json"
    environment = {**os.environ, "PAIRING": LINES}
    ended = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--layout", "tp"], "--layout: error[P013]"),
        (["--layout", ""], "--layout: error[P013]"),
        (["--layout", "tp=x"], "--layout: error[P013]"),
        (["--layout", "foo=1"], "--layout: error["),
        (["--layout", "tp=0"], "--layout: error["),
        (["--layout", "prefill:tp=1;tp=2"], "--layout: error["),
        (["--layout", "prefill:tp=1;prefill:tp=2"], "--layout: error[P013]"),
        (["--layout", "tp=1,tp=2"], "--layout: error[P013]"),
        (["--layout", "tp=²"], "--layout: error[P013]"),
        (["--layout", f"tp={'9' * 5000}"], "--layout: error[P013]"),
        (["--at-least", "1e300"], "--at-least: error[P004]"),
        (["--at-least", "nan"], "--at-least: error[P004]"),
        (["--set", "a"], "--set: error[P013]"),
        (["--set", "flags.--port=[[["], "--set:1:"),
        (["--nodes", "0"], "--nodes"),
        (["--variant", "nope"], "--variant: error[P010]"),
        (["--bogus"], "--bogus"),
        (["-o", "toml"], "toml"),
    ],
)
def test_a_wrong_option_beside_a_pairing_is_refused(
    arguments: list[str], words: str, run: Run, write_files: Files
) -> None:
    pairing = write_files({"p.yaml": LINES}) / "p.yaml"
    refused(run("plan", pairing, *arguments), 2, words)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [(["--nodes", "99"], "--nodes: error[P022]"), (["--set", "replicas=2"], "--set: error[P023]")],
)
def test_a_contradiction_of_options_is_placed_at_the_option(arguments: list[str], place: str, run: Run) -> None:
    given = ("--variant", GOOD["variant"], "--server", GOOD["server"], "--use-case", GOOD["useCase"])
    ended = run("plan", *given, *arguments)
    assert ended.code in (1, 2)
    assert place in ended.err


def test_a_wrong_pin_is_placed_at_the_pin(run: Run, write_files: Files) -> None:
    pairing = write_files({"p.yaml": f"{LINES}  set:\n    flags.--port: http\n"}) / "p.yaml"
    ended = run("render", pairing, "--out", pairing.parent / "out")
    refused(ended, 1, f"{pairing}:9:", "--port takes a whole number, not 'http'")


@pytest.mark.parametrize(("line", "code"), [("nodes: 99", "P022"), ("set: {replicas: 2}", "P023")])
def test_check_finds_what_a_plan_would_refuse(line: str, code: str, run: Run, write_files: Files) -> None:
    pairing = write_files({"p.yaml": f"{LINES}  {line}\n"}) / "p.yaml"
    ended = run("check", pairing, "--format", "json")
    assert (ended.code, [(f["code"], f["line"]) for f in ended.data["findings"]]) == (1, [(code, 8)])


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["list", "nothing"],
        ["show", "chips", "nothing"],
        ["schema", "nothing"],
        ["matrix", "--server", "nothing"],
        ["matrix", "--site", "nothing"],
        ["check", "--kubernetes-version", "1.10", "x"],
        ["check", "--format", "prose"],
        ["explain"],
        ["explain", "--check", "X999"],
        ["plan"],
        ["plan", "--variant", "deepseek-v4-flash"],
        ["plan", "--variant", "x", "--server", "hgx-h200", "--use-case", "chat"],
        ["render", "--profiles", "/nowhere"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], run: Run) -> None:
    refused(run(*arguments), 2)


@pytest.mark.parametrize(
    "plan", ["{}\n", "- a\n", "", "kind: Plan\n", "kind: Plan\npairing: []\n", "kind: Plan\nverdict: 1\n"]
)
def test_a_plan_file_that_is_none_is_refused(plan: str, run: Run, write_files: Files) -> None:
    folder = write_files({"plan.yaml": plan, "kustomization.yaml": ""})
    refused(run("explain", folder), 2, "plan.yaml")
    assert run("check", folder).code in (0, 1)


def test_a_terminal_that_knows_ascii_only_gets_an_answer(write_files: Files) -> None:
    file = write_files({"p.yaml": LINES.replace("hgx-h200", "véhicule-漢")}) / "p.yaml"
    for command in ("check", "plan"):
        ended = in_process_of_its_own(["-m", "stowplan", command, file], PYTHONIOENCODING="ascii")
        assert ended.returncode == 1, ended.stderr
        assert "unknown server" in ended.stdout + ended.stderr


@pytest.mark.parametrize("target", ["full", "closed"])
def test_a_standard_output_that_takes_nothing_is_an_answer(target: str) -> None:
    to = {"full": "> /dev/full", "closed": ">&-"}[target]
    command = f"'{sys.executable}' -m stowplan list chips {to}"
    ended = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (0, 2)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    for arguments in ("list recipes -o json", "explain v4-pro.atlas-800i-a3.search -o json"):
        piped = f"set -o pipefail; '{sys.executable}' -m stowplan {arguments} | head -1"
        ended = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=False)
        assert ended.stderr == ""
        assert ended.stdout in ("[\n", "{\n")


def test_a_reader_that_is_gone_is_no_error() -> None:
    command = [sys.executable, "-m", "stowplan", "explain", "v4-pro.atlas-800i-a3.search", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


OLD = [
    Artifact("pairings/a/x.yaml", "x: old\n"),
    Artifact("pairings/a/y.yaml", "y: old\n"),
    Artifact("sites/s.yaml", "s: old\n"),
]
NEW = [
    Artifact("pairings/a/x.yaml", "x: new\n"),
    Artifact("pairings/a/z.yaml", "z: new\n"),
    Artifact("sites/s.yaml", "s: new\n"),
]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with an older render, and a file of somebody else."""
    folder = tmp_path / "manifests"
    write(folder, OLD, [""])
    (folder / "pairings" / "a" / "own.yaml").write_text("own: 1\n")
    return folder


@pytest.fixture
def unchanged(out: Path) -> Iterator[Path]:
    """The same, and that it is byte for byte as it was when the test has ended."""
    before = files(out)
    yield out
    assert files(out) == before
    assert not list(out.glob(".stowplan-stage*"))


def failing(after: int, error: BaseException, real: Callable[..., object]) -> Callable[..., object]:
    """A function that fails at its n-th call."""
    calls = iter(range(10**6))

    def call(*arguments: object) -> object:
        if next(calls) == after:
            raise error
        return real(*arguments)

    return call


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "disk")


@pytest.mark.parametrize("after", range(4))
def test_a_disk_that_fills_while_files_are_staged_leaves_the_old_tree(
    after: int, unchanged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_write_one", failing(after, FULL, writing._write_one))
    with pytest.raises(Refused, match="No space left on device; the old tree is as it was") as ended:
        write(unchanged, NEW, [""])
    assert ended.value.unreadable


@pytest.mark.parametrize("after", range(8))
def test_a_step_that_fails_while_files_change_places_leaves_the_old_tree(
    after: int, unchanged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", failing(after, FULL, Path.replace))
        with pytest.raises(Refused, match="No space left on device"):
            write(unchanged, NEW, [""])


@pytest.mark.parametrize("after", range(4))
def test_ctrl_c_while_files_are_staged_leaves_the_old_tree(
    after: int, unchanged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_write_one", failing(after, KeyboardInterrupt(), writing._write_one))
    with pytest.raises(KeyboardInterrupt):
        write(unchanged, NEW, [""])


def test_ctrl_c_while_files_change_places_waits_until_all_have(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace

    def interrupted(source: Path, target: Path) -> Path:
        signal.raise_signal(signal.SIGINT)
        return real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(out, NEW, [""])
    assert {path: text for path, text in files(out).items() if path not in (INDEX, "pairings/a/own.yaml")} == {
        artifact.path: artifact.text.encode() for artifact in NEW
    }
    assert not list(out.glob(".stowplan-stage*"))


@pytest.mark.parametrize(("error", "code"), [(FULL, 2), (KeyboardInterrupt(), 130)])
def test_a_render_that_is_cut_short_ends_with_its_code(
    error: BaseException, code: int, unchanged: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_write_one", failing(3, error, writing._write_one))
    ended = run("render", "v4-flash.mi355x-8x.recommendation", "--out", unchanged)
    assert (ended.code, ended.out, "Traceback" in ended.err) == (code, "", False)


def test_two_renders_into_one_folder_are_one_too_many(unchanged: Path, run: Run) -> None:
    handle = os.open(unchanged, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        ended = run("render", "v4-flash.mi355x-8x.recommendation", "--out", unchanged)
    finally:
        os.close(handle)
    refused(ended, 2, f"{unchanged}: error[W002]: another render is writing to this folder")


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/below"])
def test_an_output_folder_that_cannot_be_is_named(where: str, run: Run, write_files: Files) -> None:
    folder = write_files({"file": "x"})
    ended = run("render", "v4-flash.mi355x-8x.recommendation", "--out", folder / where)
    words = "is a file; a folder is expected" if where == "file" else "cannot be written"
    refused(ended, 2, f"error[W001]: {words}", str(folder / where))
    assert (folder / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_an_output_folder_without_the_right_to_write_is_named(unchanged: Path, run: Run) -> None:
    unchanged.chmod(0o500)
    ended = run("render", "v4-flash.mi355x-8x.recommendation", "--out", unchanged)
    unchanged.chmod(0o700)
    refused(ended, 2, "error[W001]: cannot be written: Permission denied")


def test_a_folder_of_several_files_goes_with_them(tmp_path: Path) -> None:
    stay = Artifact("stay.yaml", "a: 1\n")
    gone = [
        Artifact(f"layers/one/{name}", "a: 1\n") for name in ("a.yaml", "b.yaml", "servers/c.yaml", "servers/d.yaml")
    ]
    write(tmp_path / "out", [stay, *gone], [""])
    assert len(write(tmp_path / "out", [stay], [""]).removed) == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [INDEX, "stay.yaml"]


def test_what_is_no_longer_rendered_is_removed_and_nothing_else(out: Path) -> None:
    changes = write(out, NEW, [""])
    assert changes.removed == ("pairings/a/y.yaml",)
    assert set(files(out)) == {INDEX, "pairings/a/own.yaml", *(artifact.path for artifact in NEW)}


def test_a_render_of_one_pairing_removes_nothing_of_another(out: Path) -> None:
    write(out, [Artifact("pairings/b/x.yaml", "b: 1\n")], ["pairings/b/"])
    assert {artifact.path for artifact in OLD} < set(files(out))


def test_a_second_render_of_the_same_writes_nothing(unchanged: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in unchanged.rglob("*")}
    assert not write(unchanged, OLD, [""])
    assert {path: path.stat().st_mtime_ns for path in unchanged.rglob("*")} == before


def test_an_emptied_folder_goes_with_its_last_file(out: Path) -> None:
    write(out, [artifact for artifact in OLD if artifact.path.startswith("pairings")], [""])
    assert not (out / "sites").exists()


@pytest.mark.parametrize("path", ["../outside", "pairings/../../outside", "{folder}/outside"])
def test_an_index_cannot_name_what_lies_outside(path: str, out: Path) -> None:
    outside = out.parent / "outside"
    outside.write_text("precious")
    with (out / INDEX).open("a") as index:
        index.write(f"{'0' * 64}  {path.format(folder=out.parent)}\n")
    write(out, NEW, [""])
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("artifacts", [NEW, NEW[2:]], ids=["written", "removed"])
def test_a_link_that_leads_out_of_the_folder_is_refused(artifacts: list[Artifact], out: Path) -> None:
    outside = out.parent / "outside"
    (out / "pairings").rename(outside)
    (out / "pairings").symlink_to(outside)
    before = files(outside)
    with pytest.raises(Refused, match="outside of the output folder") as ended:
        write(out, artifacts, [""])
    assert [d.code for d in ended.value.report] == ["W003"]
    assert files(outside) == before


def test_a_file_that_is_a_link_is_replaced_and_not_written_through(out: Path) -> None:
    outside = out.parent / "outside.yaml"
    outside.write_text("precious")
    (out / "pairings/a/x.yaml").unlink()
    (out / "pairings/a/x.yaml").symlink_to(outside)
    write(out, NEW, [""])
    assert outside.read_text() == "precious"
    assert (out / "pairings/a/x.yaml").read_text() == "x: new\n"


def test_a_folder_where_a_file_must_go_is_not_lost(out: Path) -> None:
    (out / "pairings/a/x.yaml").unlink()
    (out / "pairings/a/x.yaml").mkdir()
    (out / "pairings/a/x.yaml/own").write_text("precious")
    with pytest.raises(Refused):
        write(out, NEW, [""])
    assert (out / "pairings/a/x.yaml/own").read_text() == "precious"


def test_a_file_where_a_folder_must_go_is_not_lost(unchanged: Path) -> None:
    with pytest.raises(Refused):
        write(unchanged, [*OLD, Artifact("pairings/a/own.yaml/below.yaml", "x: 1\n")], [""])


def test_one_bad_pairing_among_good_ones_stops_the_render(unchanged: Path, run: Run, write_files: Files) -> None:
    bad = write_files({"bad.yaml": pairing_text(**{**GOOD, "server": "nothing"})}) / "bad.yaml"
    refused(run("render", "v4-flash.mi355x-8x.recommendation", bad, "--out", unchanged), 1, "unknown server 'nothing'")


def test_an_infeasible_pairing_writes_nothing(unchanged: Path, run: Run, write_files: Files) -> None:
    spec = {"variant": "deepseek-v4-pro", "server": "atlas-800i-a2-910b3", "useCase": "chat", "nodes": 1}
    bad = write_files({"big.yaml": pairing_text(**spec)}) / "big.yaml"
    refused(run("render", bad, "--out", unchanged), 1, "F001", "short by", "GiB per NPU")


def test_every_bad_pairing_of_a_render_is_told_at_once(run: Run, write_files: Files) -> None:
    folder = write_files({f"{n}.yaml": pairing_text(**{**GOOD, "server": f"none-{n}"}) for n in "ab"})
    refused(run("render", folder / "a.yaml", folder / "b.yaml", "--out", folder / "out"), 1, "none-a", "none-b")


def test_two_pairings_of_one_name_are_refused(run: Run, write_files: Files) -> None:
    folder = write_files({"a.yaml": pairing_text(**GOOD), "b.yaml": pairing_text(**GOOD, replicas=2)})
    refused(run("render", folder / "a.yaml", folder / "b.yaml", "--out", folder / "out"), 1, "P031")


def test_a_bug_is_reported_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("stowplan.catalog.facts.digest", broken)
    ended = run("version")
    assert ended.code == 3
    assert "please report it" in ended.err
    assert "RuntimeError: a bug" in ended.err
    assert "command: version" in ended.err
