"""Names shown to readers in the place of ids."""

import pandas as pd

from .models import MODEL_BY_ID
from .tables import ROI_BY_ID

TITLES = {i: row.title for i, row in [*MODEL_BY_ID.items(), *ROI_BY_ID.items()]}


def title_of(name) -> str:
    """Title of a model or a region; anything else as it is.

    Examples
    --------
    >>> title_of("vit-h"), title_of("prf-visual"), title_of("anything else")
    ('ViT-H/14', 'early visual (pRF)', 'anything else')
    """
    return TITLES.get(name, str(name))


def titled(table, form=None):
    """A table with titles of models and regions in its index and columns.

    Parameters
    ----------
    table : DataFrame or Series
    form : str or dict of column to str, optional
        Format of the numbers of a DataFrame, such as "{:.2f}"; undefined ones are then called so.

    Returns
    -------
    table : of the same kind

    Examples
    --------
    >>> titled(pd.DataFrame({"V1": [0.25]}, index=["vit-h"]), "{:.1f}")
               V1
    ViT-H/14  0.2
    """
    if form is not None:
        forms = form if isinstance(form, dict) else dict.fromkeys(table.columns, form)
        table = table.apply(lambda column: column.map(written, form=forms[column.name]))
    return table.rename(title_of) if table.ndim == 1 else table.rename(index=title_of, columns=title_of)


def written(value, form: str = "{:.2f}") -> str:
    """A number as readers see it; "undefined" where it is."""
    return "undefined" if pd.isna(value) else form.format(value)
