"""Pictures with the models' answers beside them."""

import textwrap

import numpy as np

from .style import MUTED, new_figure, styled


@styled
def plot_scenes(images, texts, titles=None, figure=None, n_characters=62, n_lines=2):
    """Stimuli with answers, one row a stimulus.

    Parameters
    ----------
    images : sequence of uint8 arrays of shape (height, width, 3)
    texts : sequence of dict of label -> str
        Answers to each image by instruction (or model); long ones are cut with an ellipsis.
    titles : sequence of str or None
        Above each image ("nsd_id 2950").
    n_characters, n_lines : int
        Room for one answer.

    Returns
    -------
    figure : Figure

    Raises
    ------
    ValueError
        When images and texts differ in number.
    """
    if len(images) != len(texts):
        raise ValueError(
            f"images hold {len(images)} pictures and texts {len(texts)} dicts; give one for each"
        )
    blocks = [_block(text, n_characters, n_lines) for text in texts]
    heights = [max(1.75, 0.165 * len(block) + 0.35) for block in blocks]
    figure = figure or new_figure(height=sum(heights) + 0.4)
    axes = figure.subplots(len(images), 2, squeeze=False, width_ratios=[1.6, 5.2], height_ratios=heights)
    for (left, right), image, block, k in zip(axes, images, blocks, range(len(images)), strict=True):
        left.imshow(np.asarray(image))
        left.set_title(titles[k] if titles else "", loc="left", fontsize=9)
        left.set_axis_off()
        left.set_anchor("NW")
        right.set_axis_off()
        for line, (label, words) in enumerate(block):
            y = 1 - (line + 0.3) * 0.165 / heights[k]
            right.text(0.0, y, label, transform=right.transAxes, va="top", weight="bold", fontsize=8.5)
            style = {"color": MUTED, "style": "italic"} if words == "(empty answer)" else {}
            right.text(0.13, y, words, transform=right.transAxes, va="top", fontsize=8.5, **style)
    return figure


def _block(answers, n_characters, n_lines) -> list[tuple[str, str]]:
    """Lines of (label, words); the label stands at the first line of its answer."""
    lines = []
    for label, answer in answers.items():
        words = str(answer).strip() or "(empty answer)"
        wrapped = textwrap.wrap(words, n_characters, max_lines=n_lines, placeholder=" ...") or [words]
        lines += [(str(label) if k == 0 else "", line) for k, line in enumerate(wrapped)]
    return lines
