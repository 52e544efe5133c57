"""Sphinx extension: pages do without thebe, which Jupyter Book adds twice: an error in the console."""


def _mentions_thebe(script) -> bool:
    return "thebe" in f"{script.filename} {script.attributes.get('body', '')}".lower()


def leave_out(app, pagename, templatename, context, doctree):
    """Drop the scripts that would start a kernel: there is none behind a page."""
    context["script_files"] = [script for script in context["script_files"] if not _mentions_thebe(script)]


def setup(app):
    app.connect("html-page-context", leave_out, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
