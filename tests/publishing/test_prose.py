"""Numbers in prose come from artifacts; typed-in ones are found; glossary terms are linked at first use."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from fixtures import figure_tables

from brainalign_utils.publishing.book import numbers, prose
from brainalign_utils.settings import project_root

RULES = [re.compile(r"figure \d"), re.compile(r"\b(?:19|20)\d\d\b")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ViT-H reaches .49 of the ceiling.", [".49"]),
        ("It wins 31 % of the voxels, and 3 of 4 subjects agree.", ["31 %", "3", "4"]),
        ("The difference is -0.03 or 1e-4.", ["-0.03", "1e-4"]),
        ("The paper's figure 2 of 2025.", []),
        ("figure 2 shows 0.6", ["0.6"]),
        ("BLIP-2, ViT-H/14x, IU1 and fsaverage5 are names.", []),
        ("It is {{ figure_2.best.early }}, by `x = 0.7`, $r = 0.8$ and [link](page#0.9).", []),
        ("$$\nx = 0.5\n$$\nthen 0.4", ["0.4"]),
        ("```{figure} x.png\n:width: 50\n```", []),
        ("four people", []),
    ],
)
def test_typed_in_results_are_found_and_constants_are_not(text, found):
    assert [typed.text for typed in prose.typed_numbers(text, RULES)] == found


def test_a_rule_covers_a_numeral_only_where_it_matches():
    rules = [re.compile(r"threshold of \.05")]
    typed = prose.typed_numbers("threshold of .05, and a difference of .05", rules, "p")
    assert [str(t) for t in typed] == ["p: '.05' in 'threshold of .05, and a difference of .05'"]


def test_captions_are_prose_but_their_computed_parts_are_not():
    code = 'save(fig, caption=f"Range {low:.2f}, 95 % interval" + "of .37", alt=".99")'
    text = " ".join(prose._captions(code))
    assert "95 % interval" in text and ".37" in text
    assert ".99" not in text and "2f" not in text


def test_rules_need_a_reason(tmp_path):
    (tmp_path / "rules.yml").write_text("- {pattern: '.*'}\n")
    with pytest.raises(ValueError, match="needs a pattern and a why"):
        prose.load_rules(tmp_path / "rules.yml")


def test_the_book_holds_no_typed_in_results():
    assert list(map(str, prose.check_prose(project_root()))) == []


def test_figure_2_in_words():
    table = figure_tables.models_table().assign(difference=np.nan)
    found = numbers.models(table)
    means = table[table.subject == "all"].set_index(["model", "roi"]).value
    early = means.xs("prf-visual", level="roi")
    assert found["vision"]["early"] == f"{early['vit-h']:.2f}"
    assert found["mllm"]["early"] == f"{early[['instructblip', 'idefics', 'mplug-owl']].mean():.2f}"
    assert found["best"]["early"] == f"InstructBLIP random ({early.max():.2f})"
    assert found["n_trained_above_random"] == "0 of 6"


def test_recovery_in_words():
    table = pd.DataFrame(
        {
            "check": ["noise-ceiling"] * 3 + ["layer"] * 2,
            "planted": [0.5, 0.3, 0.2, 0.1, 0.1],
            "estimated": [0.51, 0.26, 0.2, 0.1, 0.4],
            "passed": [True, False, True, True, False],
        }
    )
    found = numbers.recovery(table)
    assert found["all"] == {"passed": "3 of 5"}
    assert found["noise_ceiling"] == {"passed": "2 of 3", "error": "0.04", "median_error": "0.010"}


def test_shared_variance_in_words_is_a_median():
    table = pd.DataFrame({"roi": ["higher"] * 3, "shared_fraction": [0.2, 0.9, 0.4]})
    assert numbers.shared(table) == {"higher": "40 %"}


@pytest.mark.parametrize(("value", "said"), [(0.256, "0.26"), (float("nan"), "undefined")])
def test_undefined_numbers_say_so(value, said):
    assert numbers.number(value) == said


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
