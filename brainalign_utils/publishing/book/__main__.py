"""Jupyter Book's command line with two changes: ``python -m brainalign_utils.publishing.book build ...``.

Pages are read and written by as many processes as there are cores: Sphinx can, the command line does not
offer it.  And jsonschema compiles no grammar of web addresses at import, which takes seconds for nothing.
"""

import functools
import os
import sys

sys.modules.setdefault("rfc3987_syntax", None)

import sphinx_jupyterbook_latex
import sphinx_multitoc_numbering
from jupyter_book import sphinx
from jupyter_book.cli.main import main


def declare_safe(setup):
    """Setup of an extension that says nothing on parallel work, which Sphinx takes for a no."""
    return lambda app: (setup(app) or {}) | {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    # one numbers sections once all pages are read, in the process that has them all; the other acts for LaTeX
    for extension in (sphinx_multitoc_numbering, sphinx_jupyterbook_latex):
        extension.setup = declare_safe(extension.setup)
    n_jobs = len(os.sched_getaffinity(0))
    sphinx.build_sphinx = functools.partial(sphinx.build_sphinx, jobs=n_jobs)
    main(prog_name="jupyter-book")
