"""What the notebooks of the study share."""

DEFAULT_SETTINGS = "workflow/config/phantom.yml"
"""Settings file of every command that is given none; the Makefile names the same."""


class BrainalignError(ValueError):
    """A mistake of the user's, or a file that cannot be used: commands print the sentence, no traceback."""

    def _render_traceback_(self):
        """What IPython shows of it in a notebook."""
        return [f"{type(self).__name__}: {self}"]
