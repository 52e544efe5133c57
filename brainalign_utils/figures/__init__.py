"""Figures: tidy tables in, marks on matplotlib figures out, saved with caption and alternative text."""
# ruff: noqa: F401

from .alignment import alt_layers, alt_models, component_title, plot_ablations, plot_layers, plot_models
from .checks import (
    alt_ceilings,
    alt_choices,
    alt_recovery,
    plot_ceiling_scatter,
    plot_ceilings,
    plot_choices,
    plot_recovery,
)
from .cortex import alt_maps, alt_winner_maps, plot_best_instruction, plot_maps, plot_views
from .instructions import (
    alt_agreement,
    alt_concepts,
    alt_instructions,
    alt_pair_tests,
    alt_winner_shares,
    plot_agreement,
    plot_concepts,
    plot_instructions,
    plot_pair_tests,
    plot_winner_shares,
)
from .partition import (
    alt_early_higher,
    alt_pair_matrix,
    alt_venns,
    plot_early_higher,
    plot_pair_matrix,
    plot_venns,
)
from .saving import SavedFigure, save_figure
from .style import STYLE, new_figure
