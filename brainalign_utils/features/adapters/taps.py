"""Layer states reduced while they are produced, so that no full state is kept."""

from contextlib import contextmanager

import torch
from torch import nn


class LayerTap:
    """Hooks on the layers of one part of a model.

    State 0 is the input of the first layer (the embeddings), state i the output of layer i.  When the
    part ends in a norm that belongs to its last state (language models do, vision towers do not), the
    last state is taken after it.  This is the order of ``hidden_states`` in transformers.

    Parameters
    ----------
    layers : ModuleList
    final_norm : Module or None
    """

    def __init__(self, layers: nn.ModuleList, final_norm: nn.Module | None = None):
        self.n_states = len(layers) + 1
        self._reduce = None
        self._states = {}
        layers[0].register_forward_pre_hook(lambda _, inputs: self._record(0, inputs[0]))
        outputs = [*layers[:-1], final_norm if final_norm is not None else layers[-1]]
        for i, module in enumerate(outputs, start=1):
            module.register_forward_hook(lambda _, inputs, output, i=i: self._record(i, output))

    def _record(self, index: int, state):
        if self._reduce is not None:
            state = state[0] if isinstance(state, tuple) else state
            self._states[index] = self._reduce(state)

    @contextmanager
    def reducing(self, reduce):
        """Within, apply ``reduce`` to each state; yields a function that stacks the results.

        ``reduce`` takes a (n_rows, n_tokens, width) tensor; the stack has one entry per state first.
        """
        self._reduce, self._states = reduce, {}
        try:
            yield lambda: torch.stack([self._states[i] for i in range(self.n_states)])
        finally:
            self._reduce, self._states = None, {}


def token_mean(state: torch.Tensor) -> torch.Tensor:
    """Mean over all tokens of (n_rows, n_tokens, width), in float32."""
    return state.mean(dim=1, dtype=torch.float32)


def last_token(state: torch.Tensor) -> torch.Tensor:
    """The last token of (n_rows, n_tokens, width), in float32."""
    return state[:, -1].float()


def weighted_sum(weights: torch.Tensor):
    """Sum over tokens with (n_rows, n_tokens) weights, in float32; padding has weight 0."""
    weights = weights.float().unsqueeze(1)
    return lambda state: torch.bmm(weights, state.float()).squeeze(1)
