"""Pages that several processes read and write are those of Jupyter Book's own command."""

import subprocess
import sys
from pathlib import Path

BOOK = "brainalign_utils.publishing.book"

ROOT = Path(__file__).parents[2]


def pages(folder: Path) -> dict[str, str]:
    found = sorted((folder / "_build/html").rglob("*.html"))
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_several_processes_write_the_same_pages(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    names = [f"page_{k}" for k in range(8)]  # Sphinx works alone on fewer
    for k, name in enumerate(names):
        (source / f"{name}.md").write_text(f"# Title {k}\n\nSee [the next](page_{(k + 1) % 8}).\n")
    chapters = "".join(f"- file: {name}\n" for name in names[1:])
    (source / "_toc.yml").write_text(f"format: jb-book\nroot: page_0\nchapters:\n{chapters}")
    (source / "_config.yml").write_text("title: small\n")
    plain = [str(Path(sys.executable).with_name("jupyter-book"))]
    for name, tool in (
        ("one", plain),
        ("several", [sys.executable, "-m", BOOK]),
    ):
        command = [*tool, "build", str(source), "--path-output", str(tmp_path / name), "--warningiserror"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    one, several = pages(tmp_path / "one"), pages(tmp_path / "several")
    assert len(one) >= 8 and one == several
