"""A trained ViT as the vision tower of other classes: the same arithmetic under other names.

InstructBLIP and BLIP-2 compute exactly what ViT computes.  CLIP, IDEFICS and mPLUG-Owl have no bias in their
patch embedding (it moves into the position embedding) and one more norm behind the embeddings (started
so that it changes little); they settle in training.
"""

import torch

from .checkpoint_shapes import N_HEADS

_PREFIX = {"idefics": "model.vision_model."}
_HEAD_NAMES = {
    "blip": {
        "cls": "embeddings.class_embedding", "position": "embeddings.position_embedding",
        "patch": "embeddings.patch_embedding", "norm": "post_layernorm",
    },
    "clip": {
        "cls": "embeddings.class_embedding", "position": "embeddings.position_embedding.weight",
        "patch": "embeddings.patch_embedding", "norm": "post_layernorm", "pre": "pre_layrnorm",
    },
    "owl": {
        "cls": "embeddings.cls_token", "position": "embeddings.position_embedding",
        "patch": "embeddings.patch_embed", "norm": "post_layernorm", "pre": "embeddings.pre_layernorm",
    },
}  # fmt: skip
_LAYER_NAMES = {
    "blip": ("layer_norm1", "layer_norm2", "self_attn.projection", "self_attn.qkv"),
    "clip": ("layer_norm1", "layer_norm2", "self_attn.out_proj", None),
    "owl": ("input_layernorm", "post_attention_layernorm", "self_attn.dense", "self_attn.query_key_value"),
}
_STYLE = {"instructblip": "blip", "blip2": "blip", "clip": "clip", "idefics": "clip", "mplug-owl": "owl"}


def tower_weights(name: str, vit: dict, n_layers: int, embedding_scale: float) -> dict:
    """State-dict entries that make a ViT the vision tower of another class.

    Parameters
    ----------
    name : str
        Checkpoint name other than "vit".
    vit : dict
        State dict of a ``ViTModel``.
    n_layers : int
    embedding_scale : float
        Standard deviation over features of ViT's embeddings, the start of the additional norm's weight.
    """
    style, prefix = _STYLE[name], _PREFIX.get(name, "vision_model.")
    names = _HEAD_NAMES[style]
    position = vit["embeddings.position_embeddings"].clone()
    bias = vit["embeddings.patch_embeddings.projection.bias"]
    weights = {names["patch"] + ".weight": vit["embeddings.patch_embeddings.projection.weight"]}
    if "pre" in names:
        position[:, 1:] += bias
        weights[names["pre"] + ".weight"] = torch.full_like(bias, embedding_scale)
        weights[names["pre"] + ".bias"] = torch.zeros_like(bias)
    else:
        weights[names["patch"] + ".bias"] = bias
    cls = vit["embeddings.cls_token"]
    weights[names["cls"]] = cls.flatten() if style == "clip" else cls
    weights[names["position"]] = position[0] if style == "clip" else position
    for kind in ("weight", "bias"):
        weights[f"{names['norm']}.{kind}"] = vit[f"layernorm.{kind}"]
        for k in range(n_layers):
            weights.update(_layer(style, vit, k, kind))
    return {prefix + key: value.clone() for key, value in weights.items()}


def _layer(style: str, vit: dict, k: int, kind: str) -> dict:
    kept = ("layernorm_before", "layernorm_after", "mlp.fc1", "mlp.fc2")
    own = {key: vit[f"layers.{k}.{key}.{kind}"] for key in kept}
    q, key, v, o = (vit[f"layers.{k}.attention.{part}_proj.{kind}"] for part in "qkvo")
    first, second, out, fused = _LAYER_NAMES[style]
    layer = {
        f"{first}.{kind}": own["layernorm_before"],
        f"{second}.{kind}": own["layernorm_after"],
        f"{out}.{kind}": o,
        f"mlp.fc1.{kind}": own["mlp.fc1"],
        f"mlp.fc2.{kind}": own["mlp.fc2"],
    }
    if style == "blip":
        layer[f"{fused}.{kind}"] = torch.cat([q, key, v])
    elif style == "owl":
        heads = [part.unflatten(0, (N_HEADS, -1)) for part in (q, key, v)]
        layer[f"{fused}.{kind}"] = torch.stack(heads, 1).flatten(0, 2)
    else:
        layer |= {f"self_attn.{n}_proj.{kind}": part for n, part in zip("qkv", (q, key, v), strict=True)}
    return {f"encoder.layers.{k}.{key}": value for key, value in layer.items()}


def origin_weights(name: str, origin: dict, state: dict) -> dict:
    """What a model takes over: InstructBLIP all of BLIP-2, the others InstructBLIP's language model.

    Parameters
    ----------
    name : str
        "instructblip", "idefics" or "mplug-owl".
    origin : dict
        State dict of "blip2" or "instructblip".
    state : dict
        State dict of the model that begins.

    Returns
    -------
    dict
        Entries of ``state`` that have the same meaning and shape in the origin.
    """
    if name != "instructblip":
        origin = {k: v for k, v in origin.items() if k.startswith("language_model.")}
    if name == "idefics":
        origin = {k.removeprefix("language_model."): v for k, v in origin.items()}
    return {k: v.clone() for k, v in origin.items() if k in state and state[k].shape == v.shape}
