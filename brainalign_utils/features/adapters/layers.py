"""What hangs on or stands in for layers of a model.

Taps reduce layer states while they are produced, so that no full state is kept; caches hold keys and
values between decoding steps; shared projections are computed once for the rows of one image.
"""

from contextlib import contextmanager

import torch
from torch import nn
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin


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


class GrowingLayer(CacheLayerMixin):
    """Keys and values of one layer in buffers of full length, filled in place.

    Nothing is copied when a token is added, unlike a cache that concatenates.

    Parameters
    ----------
    n_rows, capacity : int
        Rows, and positions that will be written at most.
    """

    is_sliding = False

    def __init__(self, n_rows: int, capacity: int):
        super().__init__()
        self.n_rows, self.capacity = n_rows, capacity
        self.rows, self.length = slice(None), 0

    def lazy_initialization(self, key_states, value_states):
        self.keys, self.values = (
            states.new_empty(self.n_rows, states.shape[1], self.capacity, states.shape[-1])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def narrow(self, rows: slice, length: int):
        """Take the next positions of some rows only, of which ``length`` are there."""
        self.rows, self.length = rows, length

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[self.rows, :, start : self.length] = key_states
        self.values[self.rows, :, start : self.length] = value_states
        return self.keys[self.rows, :, : self.length], self.values[self.rows, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def select(self, index: torch.Tensor, capacity: int) -> "GrowingLayer":
        """A layer with the rows ``index`` (which may repeat) and room for ``capacity`` positions."""
        layer = GrowingLayer(len(index), capacity)
        layer.lazy_initialization(self.keys, self.values)
        layer.length = self.length
        for old, new in (self.keys, layer.keys), (self.values, layer.values):
            # straight into its place, without a copy on the way
            torch.index_select(old[:, :, : self.length], 0, index, out=new[:, :, : self.length])
        return layer

    def keep(self, index: torch.Tensor):
        """Go on with the rows ``index`` only."""
        self.keys, self.values = keep_rows(self.keys, index), keep_rows(self.values, index)


def growing_cache(n_layers: int, n_rows: int, capacity: int) -> Cache:
    return Cache(layers=[GrowingLayer(n_rows, capacity) for _ in range(n_layers)])


def select_rows(cache: Cache, index: torch.Tensor, capacity: int) -> Cache:
    """A cache with the rows ``index`` of ``cache``; rows may repeat, as when images share a prefix."""
    return Cache(layers=[layer.select(index, capacity) for layer in cache.layers])


def staying_rows(stays: torch.Tensor) -> torch.Tensor:
    """Numbers of the rows that stay, in an order in which few of them move.

    Rows from the end take the places of those that leave.

    Parameters
    ----------
    stays : (n_rows,) bool tensor

    Returns
    -------
    (n_staying,) int tensor
    """
    n_staying = int(stays.sum())
    index = torch.arange(n_staying, device=stays.device)
    index[~stays[:n_staying]] = n_staying + stays[n_staying:].nonzero().squeeze(1)
    return index


def keep_rows(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows ``index`` of ``states`` in its own memory; rows that keep their place are not copied."""
    moving = (index != torch.arange(len(index), device=index.device)).nonzero().squeeze(1)
    states[moving] = states[index[moving]]
    return states[: len(index)]


class SharedProjection(nn.Module):
    """A key or value projection of image states, computed once per image for all of its rows.

    Stands in for the ``nn.Linear`` of a cross-attention.  :meth:`share` takes the states of the
    images; :meth:`assign` says which image each row looks at; ``forward`` then ignores its input,
    of which transformers only needs the shape.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear
        self._rows = None

    def share(self, image_states: torch.Tensor) -> torch.Tensor:
        """Projections (n_images, n_tokens, width) of the images' states."""
        return self.linear(image_states.to(self.linear.weight.dtype))

    def assign(self, projections: torch.Tensor | None, row_image: torch.Tensor | None = None):
        """Give each row the projections of its image; None goes back to a plain projection."""
        self._rows = None if projections is None else projections[row_image]

    def keep(self, index: torch.Tensor):
        """Go on with the rows ``index`` only."""
        self._rows = keep_rows(self._rows, index)

    def forward(self, states):
        return self.linear(states) if self._rows is None else self._rows


def share_projections(attention: nn.Module, *names: str) -> list[SharedProjection]:
    """Replace linear layers of a cross-attention by shared ones; returns those."""
    for name in names:
        setattr(attention, name, SharedProjection(getattr(attention, name)))
    return [getattr(attention, name) for name in names]


def placeholder(image_states: torch.Tensor, n_rows: int) -> torch.Tensor:
    """A tensor with the shape of every row's image states that takes no memory."""
    return image_states.new_zeros(()).expand(n_rows, *image_states.shape[1:])
