"""Glossary terms are linked where prose first uses them."""

import re
import subprocess
import sys

import pytest

from brainalign_utils.settings import project_root

CONF = """
import sys
sys.path.insert(0, {ext!r})
extensions = ["myst_parser", "first_use"]
myst_enable_extensions = ["colon_fence"]
"""
GLOSSARY = """# Glossary

```{glossary}
voxel
  A cube of brain.

noise ceiling
  What can be known.
```
"""
PAGE = """# Voxels in titles stay

A `voxel` in code stays. Voxels are cubes, and a voxel has a noise ceiling. The Noise ceiling again;
voxelwise is another word.

| voxel |
|---|
| voxel |
"""


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    source = tmp_path_factory.mktemp("sphinx")
    (source / "book").mkdir()
    (source / "conf.py").write_text(CONF.format(ext=str(project_root() / "book" / "ext")))
    (source / "index.md").write_text(f"{PAGE}\n```{{toctree}}\nbook/glossary\n```\n")
    (source / "book" / "glossary.md").write_text(GLOSSARY)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(source), str(source / "out")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return source / "out"


def test_terms_are_linked_once_where_prose_first_uses_them(linked):
    html = (linked / "index.html").read_text()
    body = html[html.index("<h1>") : html.index("toctree-wrapper")]
    links = re.findall(
        r'<a class="reference internal" href="book/glossary.html#(term-[\w-]+)"[^>]*>(.*?)</a>', body
    )
    assert [(anchor, re.sub("<.*?>", "", text)) for anchor, text in links] == [
        ("term-voxel", "Voxels"),
        ("term-noise-ceiling", "noise ceiling"),
    ]


def test_links_to_terms_say_what_they_mean(linked):
    html = (linked / "index.html").read_text()
    assert 'href="book/glossary.html#term-voxel" title="A cube of brain."' in html


def test_the_glossary_does_not_link_to_itself(linked):
    assert 'href="#term-voxel"><span class="std' not in (linked / "book" / "glossary.html").read_text()
