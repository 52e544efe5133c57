"""Generation that pools states while it produces them."""

import torch

from ..adapters.cache import staying_rows

COMPACT_BELOW = 0.95
"""Finished rows leave the batch when fewer than this share of it is still running."""


@torch.inference_mode()
def generate_pooled(decoder, rows, n_new: int, eos_ids, banned_ids, choose):
    """Generate answers and average, per layer, the states of their tokens.

    The state of a token is that of the forward pass which reads it.  The pass over the prompt is left
    out, and so is the last token, which is never read: it ends the answer or meets ``n_new``.  This is
    what averaging ``hidden_states[1:]`` of ``generate`` gives.  An answer that ends at once has no token to
    average; it takes the state of the last prompt position, the one that decided to end.

    Parameters
    ----------
    decoder : CausalDecoder or Seq2SeqDecoder
    rows : PromptRows
    n_new : int
        Tokens to generate at most.
    eos_ids, banned_ids : sequences of int
    choose : callable
        (logits, step, row numbers) to tokens.

    Returns
    -------
    states : (n_states, n_rows, width) float32 tensor
    answers : list of lists of int
        Generated tokens without the one that ends the answer.
    """
    logits, first = decoder.start(rows, n_new)
    n_rows, device = first.shape[1], first.device
    ending = torch.tensor(eos_ids, device=device)
    sums, counts = torch.zeros_like(first), torch.zeros(n_rows, device=device)
    history = torch.full((n_rows, n_new), -1, dtype=torch.long, device=device)
    active = torch.arange(n_rows, device=device)
    alive = torch.ones(n_rows, dtype=torch.bool, device=device)
    for step in range(n_new):
        tokens = choose(_without(logits, banned_ids), step, active)
        alive &= ~torch.isin(tokens, ending)
        history[active, step] = torch.where(alive, tokens, -1)
        n_alive = int(alive.sum())
        if n_alive == 0 or step == n_new - 1:
            break
        if n_alive <= COMPACT_BELOW * len(active):
            index = staying_rows(alive)
            decoder.keep(index)
            active, tokens, alive = active[index], tokens[index], alive[index]
        logits, states = decoder.step(tokens)
        sums.index_add_(1, active, states * alive[:, None])
        counts.index_add_(0, active, alive.float())
    states = torch.where((counts == 0)[:, None], first, sums / counts.clamp(min=1)[:, None])
    return states, [[token for token in answer if token >= 0] for answer in history.tolist()]


def _without(logits, banned_ids):
    if banned_ids:
        logits[:, list(banned_ids)] = -torch.inf
    return logits
