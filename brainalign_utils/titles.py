"""Names shown to readers in the place of ids."""

from .model_table import MODEL_BY_ID
from .tables import ROI_BY_ID

TITLES = {i: row.title for i, row in [*MODEL_BY_ID.items(), *ROI_BY_ID.items()]}


def title_of(name) -> str:
    """Title of a model or a region; anything else as it is."""
    return TITLES.get(name, str(name))


def titled(table):
    """A table with titles of models and regions in its index and columns.

    Parameters
    ----------
    table : DataFrame or Series

    Returns
    -------
    table : of the same kind
    """
    return table.rename(title_of) if table.ndim == 1 else table.rename(index=title_of, columns=title_of)
