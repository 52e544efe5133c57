"""Figures: tidy tables in, marks on matplotlib figures out, saved with caption and alternative text."""

from .alt import (
    alt_agreement,
    alt_ceilings,
    alt_choices,
    alt_concepts,
    alt_early_higher,
    alt_instructions,
    alt_layers,
    alt_maps,
    alt_models,
    alt_pair_matrix,
    alt_pair_tests,
    alt_recovery,
    alt_roi_locations,
    alt_scenes,
    alt_venns,
    alt_winner_maps,
    alt_winner_shares,
)
from .ceilings import plot_ceiling_scatter, plot_ceilings
from .concepts import plot_concepts, plot_instructions
from .layers import component_title, plot_layers
from .maps import plot_best_instruction, plot_maps, plot_roi_locations, winner_rgba
from .models import plot_ablations, plot_models
from .partition import plot_early_higher, plot_pair_matrix
from .recovery import plot_choices, plot_recovery
from .saving import SavedFigure, save_figure
from .scenes import plot_scenes
from .style import ALL, INSTRUCTION_COLOURS, book_style, instruction_colours, new_figure
from .venn import draw_venn2, draw_venn3, plot_venns
from .winners import plot_agreement, plot_pair_tests, plot_winner_shares

__all__ = [
    "ALL",
    "INSTRUCTION_COLOURS",
    "SavedFigure",
    "alt_agreement",
    "alt_ceilings",
    "alt_choices",
    "alt_concepts",
    "alt_early_higher",
    "alt_instructions",
    "alt_layers",
    "alt_maps",
    "alt_models",
    "alt_pair_matrix",
    "alt_pair_tests",
    "alt_recovery",
    "alt_roi_locations",
    "alt_scenes",
    "alt_venns",
    "alt_winner_maps",
    "alt_winner_shares",
    "book_style",
    "component_title",
    "draw_venn2",
    "draw_venn3",
    "instruction_colours",
    "new_figure",
    "plot_ablations",
    "plot_agreement",
    "plot_best_instruction",
    "plot_ceiling_scatter",
    "plot_ceilings",
    "plot_choices",
    "plot_concepts",
    "plot_early_higher",
    "plot_instructions",
    "plot_layers",
    "plot_maps",
    "plot_models",
    "plot_pair_matrix",
    "plot_pair_tests",
    "plot_recovery",
    "plot_roi_locations",
    "plot_scenes",
    "plot_venns",
    "plot_winner_shares",
    "save_figure",
    "winner_rgba",
]
