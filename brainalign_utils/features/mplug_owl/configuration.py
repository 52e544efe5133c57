"""Configurations of mPLUG-Owl, with the key names of the published config.json."""

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

IMAGE_TOKEN_INDEX = -1
"""Marks image positions in ``input_ids``; no row of the embedding matrix belongs to it."""


class MplugOwlVisionConfig(PreTrainedConfig):
    """Vision transformer; the defaults are those of ViT-L/14."""

    model_type = "mplug_owl_vision_model"
    base_config_key = "vision_config"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 14
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02


class MplugOwlVisualAbstractorConfig(PreTrainedConfig):
    """Resampler from vision tokens to ``num_query_tokens`` tokens."""

    model_type = "mplug_owl_visual_abstract"
    base_config_key = "visual_abstractor_config"

    hidden_size: int = 1024
    intermediate_size: int = 2816
    num_hidden_layers: int = 6
    num_attention_heads: int = 16
    encoder_hidden_size: int = 1024
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02


class MplugOwlConfig(PreTrainedConfig):
    """The three parts and the number of queries.  ``abstractor_config`` is read as an older name."""

    model_type = "mplug-owl"
    sub_configs_defaults = {  # noqa: RUF012 - a class attribute that transformers reads
        "vision_config": MplugOwlVisionConfig,
        "visual_abstractor_config": MplugOwlVisualAbstractorConfig,
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    vision_config: dict | PreTrainedConfig | None = None
    visual_abstractor_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    num_query_tokens: int = 64
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        older_name = kwargs.pop("abstractor_config", None)
        if self.visual_abstractor_config is None:
            self.visual_abstractor_config = older_name
        super().__post_init__(**kwargs)

    @property
    def n_image_tokens(self) -> int:
        """Positions an image takes in the prompt: the queries and one closing vector."""
        return self.num_query_tokens + 1


AutoConfig.register("mplug-owl", MplugOwlConfig)
