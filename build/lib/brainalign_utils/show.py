"""Tables of words for readers: nothing is cut off, and dark pages stay dark."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class WordTable:
    """A table whose cells hold sentences; shows itself in a notebook.

    Parameters
    ----------
    frame : DataFrame
        Undefined cells stay empty.
    index : bool
        Show the row names.
    digits : int
        Decimals of numbers.
    """

    frame: pd.DataFrame
    index: bool = False
    digits: int = 3

    def _repr_html_(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            return self.frame.to_html(
                index=self.index,
                classes="words",
                border=0,
                na_rep="",
                float_format=f"{{:.{self.digits}f}}".format,
            )

    def __repr__(self) -> str:
        return self.frame.to_string(index=self.index, na_rep="")
