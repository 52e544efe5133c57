"""Arithmetic of mPLUG-Owl: vision transformer, visual abstractor and LLaMA, by published parameter names."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForImageTextToText, GenerationMixin, LlamaForCausalLM, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling, CausalLMOutputWithPast

from .configuration import IMAGE_TOKEN_INDEX, MplugOwlConfig


class LayerNorm(nn.LayerNorm):
    """Layer norm that runs in float32 and is cast back, as every one of the published model does."""

    def forward(self, x):
        bias = None if self.bias is None else self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), bias, self.eps).to(x.dtype)


def _attend(query, key, value, n_heads: int):
    """Multi-head attention of (n_batch, n_tokens, width) tensors, scaled by head_dim ** -0.5."""
    query, key, value = (x.unflatten(-1, (n_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


class VisionEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        n_patches = (config.image_size // config.patch_size) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.position_embedding = nn.Parameter(torch.zeros(1, n_patches + 1, config.hidden_size))
        self.patch_embed = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size, bias=False)
        self.pre_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values):
        patches = self.patch_embed(pixel_values).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.pre_layernorm(x + self.position_embedding)


class VisionAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        # within a head q, k and v lie side by side: (n_batch, n_tokens, n_heads, 3, head_dim)
        qkv = self.query_key_value(x).unflatten(-1, (self.n_heads, 3, -1))
        return self.dense(_attend(*(part.flatten(2) for part in qkv.unbind(3)), self.n_heads))


class VisionMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        z = self.fc1(x)
        return self.fc2(z * torch.sigmoid(1.702 * z))


class VisionLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self_attn = VisionAttention(config)
        self.mlp = VisionMlp(config)
        self.input_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Layers(nn.Module):
    """Holder of ``layers``, for the published parameter names."""

    def __init__(self, layer, config):
        super().__init__()
        self.layers = nn.ModuleList(layer(config) for _ in range(config.num_hidden_layers))


class VisionModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = Layers(VisionLayer, config)
        self.post_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values):
        states = [self.embeddings(pixel_values)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return BaseModelOutput(self.post_layernorm(states[-1]), hidden_states=tuple(states))


class CrossAttentionHeads(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.encoder_hidden_size, config.hidden_size)
        self.value = nn.Linear(config.encoder_hidden_size, config.hidden_size)

    def forward(self, query, context):
        return _attend(self.query(query), self.key(context), self.value(context), self.n_heads)


class AbstractorMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_ln = LayerNorm(config.intermediate_size, eps=config.layer_norm_eps)

    def forward(self, z):
        return self.w2(self.ffn_ln(F.silu(self.w1(z)) * self.w3(z)))


class CrossOutput(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm2 = LayerNorm(config.hidden_size)
        self.mlp = AbstractorMlp(config)

    def forward(self, normed_query, attended):
        y = normed_query + self.out_proj(attended)  # the residual starts from the normed query
        return y + self.mlp(self.norm2(y))


class CrossAttention(nn.Module):
    """Cross-attention over queries and vision tokens; its norms have PyTorch's eps, not the config's."""

    def __init__(self, config):
        super().__init__()
        self.norm1 = LayerNorm(config.hidden_size)
        self.normk = LayerNorm(config.encoder_hidden_size)
        self.attention = CrossAttentionHeads(config)
        self.output = CrossOutput(config)

    def forward(self, query, vision):
        query = self.norm1(query)
        return self.output(query, self.attention(query, torch.cat([query, self.normk(vision)], dim=1)))


class AbstractorLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.crossattention = CrossAttention(config)


class Abstractor(nn.Module):
    def __init__(self, config, language_width: int):
        super().__init__()
        self.encoder = Layers(AbstractorLayer, config)
        self.visual_fc = nn.Linear(config.hidden_size, language_width)
        self.vit_eos = nn.Parameter(torch.zeros(1, 1, language_width))

    def forward(self, query, vision):
        for layer in self.encoder.layers:
            query = layer.crossattention(query, vision)
        return torch.cat([self.visual_fc(query), self.vit_eos.expand(len(query), -1, -1)], dim=1)


@dataclass
class MplugOwlOutput(CausalLMOutputWithPast):
    """Language outputs; ``hidden_states`` are LLaMA's (last one after the final norm)."""

    image_hidden_states: torch.Tensor | None = None


class MplugOwlForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Image and prompt to text.  Image positions of ``input_ids`` hold :data:`IMAGE_TOKEN_INDEX`."""

    config: MplugOwlConfig
    config_class = MplugOwlConfig
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _no_split_modules = ("VisionLayer", "AbstractorLayer", "LlamaDecoderLayer")
    _skip_keys_device_placement = ("past_key_values",)
    _keys_to_ignore_on_load_unexpected = (r"rotary_emb\.inv_freq",)

    def __init__(self, config: MplugOwlConfig):
        super().__init__(config)
        abstractor = config.visual_abstractor_config
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, abstractor.hidden_size))
        self.vision_model = VisionModel(config.vision_config)
        self.abstractor = Abstractor(abstractor, config.text_config.hidden_size)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        own = ("query_tokens", "cls_token", "position_embedding", "vit_eos")
        for name, parameter in module.named_parameters(recurse=False):
            if name in own:
                init.normal_(parameter, std=self.config.initializer_range)

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()

    def get_image_features(self, pixel_values) -> BaseModelOutputWithPooling:
        """Vision states and, as ``pooler_output``, its (n_images, n_image_tokens, width) tokens."""
        vision = self.vision_model(pixel_values.to(self.vision_model.embeddings.cls_token.dtype))
        queries = self.query_tokens.expand(len(pixel_values), -1, -1)
        return BaseModelOutputWithPooling(
            last_hidden_state=vision.last_hidden_state,
            pooler_output=self.abstractor(queries, vision.last_hidden_state),
            hidden_states=vision.hidden_states,
        )

    def embed(self, input_ids, image_tokens=None):
        """Embed a prompt, with ``image_tokens`` (n_images, n_image_tokens, width) in its image positions."""
        is_image = input_ids == IMAGE_TOKEN_INDEX
        embeds = self.get_input_embeddings()(input_ids.masked_fill(is_image, 0))
        n_given = 0 if image_tokens is None else image_tokens.shape[0] * image_tokens.shape[1]
        if n_given != is_image.sum():
            raise ValueError(
                f"input_ids mark {is_image.sum()} image positions but the images give {n_given}; "
                f"an image takes {self.config.n_image_tokens} positions with the value {IMAGE_TOKEN_INDEX}"
            )
        if image_tokens is None:
            return embeds
        return embeds.masked_scatter(is_image.unsqueeze(-1), image_tokens.to(embeds.dtype))

    def forward(self, input_ids=None, pixel_values=None, attention_mask=None, inputs_embeds=None, **kwargs):
        """As LlamaForCausalLM, with one image per <image> of the prompt; ``labels`` gives a loss."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        image_tokens = None
        if inputs_embeds is None:
            if pixel_values is not None:
                image_tokens = self.get_image_features(pixel_values).pooler_output
            inputs_embeds = self.embed(input_ids, image_tokens)
        kwargs.pop("return_dict", None)
        out = self.language_model(inputs_embeds=inputs_embeds, attention_mask=attention_mask, **kwargs)
        return MplugOwlOutput(**out, image_hidden_states=image_tokens)


AutoModelForImageTextToText.register(MplugOwlConfig, MplugOwlForConditionalGeneration)
