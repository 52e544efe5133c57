"""Sphinx extension: ``jupyter-book build .`` renders the notebooks as they are, and says what is left out.

Results come with the study, which only ``make book`` runs; it puts what follows from them into
``book/generated``.  Where that folder is missing, parts that come from it become a sentence, numbers an
ellipsis, and each page that lacks something says so under its title.
"""

import re

NOTE = """

```{note}
Results are left out here. `make book` runs the study and builds the book with figures, tables and numbers.
```"""
PARTS = re.compile(r"(?:^```\{include\} .*generated/.*\n```$\n*)+", re.MULTILINE)
NUMBER = re.compile(r"\{\{ .*? \}\}")


def leave_out_results(app, docname, source):
    """Replace what only a finished study can fill in."""
    if (app.srcdir / "book" / "generated").is_dir():
        return
    text = NUMBER.sub("…", PARTS.sub("*`make book` writes this part.*\n\n", source[0]))
    is_notebook = docname.startswith("notebooks/")
    if is_notebook or text != source[0]:
        comment = "# " if is_notebook else ""
        note = NOTE.replace("\n", f"\n{comment}")
        text = re.sub(rf"^{comment}# .*$", lambda title: title[0] + note, text, count=1, flags=re.MULTILINE)
    source[0] = text


def setup(app):
    app.connect("source-read", leave_out_results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
