"""From the executed notebooks of a study to the pages that readers see.

``contents`` which pages there are | ``pages`` a notebook as a page | ``provenance`` how a page was made |
``numbers`` results that prose may state | ``prose`` no other number in it | ``widgets`` what can be moved |
``generated`` tables for readers | ``planning`` what the full study costs | ``staging`` all in one folder |
``rendering`` Jupyter Book, checks.
The command line is :mod:`brainalign_utils.publishing.publish`.
"""
