"""Extraction from the settings of a study."""

from importlib.metadata import version

import numpy as np

from ... import nsd
from ...nsd import coco
from ...nsd.design import trial_nsd_ids
from ...settings import Settings
from ..adapters import checkpoint_folder, load_adapter, model_row
from ..store import FeatureStore
from .extractor import Extractor, extract_features
from .pooling import pooling_rule
from .reading import ExtractionError, SeenPictures, captions_identity, pictures_identity

FINGERPRINTED_PACKAGES = ("torch", "transformers", "tokenizers", "pillow")


def study_stimuli(settings: Settings) -> np.ndarray:
    """Stimuli that the subjects of a study saw, (n_stimuli,) int32, ascending.

    The shared images appear once, however many subjects saw them.
    """
    root = settings.paths.nsd
    experiment = nsd.read_design(root)
    seen = []
    for subject in settings.subjects:
        files = nsd.session_files(root, subject, settings.n_sessions, settings.betas, settings.space)
        args = experiment["subjectim"], experiment["masterordering"], subject, len(files)
        seen.append(trial_nsd_ids(*args))
    return np.unique(np.concatenate(seen)).astype(np.int32)


def extract(settings: Settings, model_id: str, shard=(0, 1), progress_bar: bool = True):
    """Extract, or go on extracting, the features and answers of one model.

    Parameters
    ----------
    settings : Settings
    model_id : str
        A row of the model table.
    shard : (k, n)
        This job makes every n-th block of stimuli from the k-th on; n jobs together make all of
        them, in the same files.
    progress_bar : bool
        Show images per second and the time left.

    Returns
    -------
    bool
        Whether the features are whole now, blocks of other shards included.

    Raises
    ------
    ModelError, ExtractionError, StoreError
        Checkpoint or device missing; image, instruction or state unusable; features there that were
        made with other settings, or another job at work on the shard.

    Examples
    --------
    >>> from brainalign_utils.settings import load_settings
    >>> settings = load_settings("workflow/config/phantom-small.yml")
    >>> extract(settings, "vit-h", shard=(0, 4))  # doctest: +SKIP
    False
    """
    row, features = model_row(model_id), settings.features
    folder = checkpoint_folder(row, settings.checkpoints)
    span = pooling_rule(features.pooling).span
    adapter = load_adapter(row, folder, features.device, features.dtype, features.image_size, span)
    nsd_ids = study_stimuli(settings)
    captions = _captions(settings, nsd_ids) if adapter.takes_caption else None
    images, seen = None, {}
    if adapter.takes_image:
        brick = nsd.StimulusBrick(settings.paths.nsd)
        images = SeenPictures(brick, adapter.preprocess, len(nsd_ids))
        seen["pictures"] = pictures_identity(brick, nsd_ids)
    if captions:
        seen["captions"] = captions_identity(captions)
    n_new = features.max_new_tokens
    if row.init == "random":
        n_new = features.max_new_tokens_random or n_new
    extractor = Extractor(
        adapter, images, settings.instruction_rows(), captions, features.pooling, n_new,
        features.batch_size, settings.stats.seed,
    )  # fmt: skip
    store = FeatureStore(
        settings.paths.features(model_id), extractor.components(), nsd_ids, features.stimuli_per_block,
        _fingerprint(settings, extractor) | seen, _storage(features.storage, adapter),
    )  # fmt: skip
    store.create(features.replace_stale)
    extract_features(extractor, store, shard, progress_bar)
    return store.collect_answers(settings.paths.answers(model_id))


def _captions(settings: Settings, nsd_ids) -> dict[int, str]:
    """The first caption of each stimulus."""
    table = coco.read_captions(settings.paths.coco, nsd.read_stim_info(settings.paths.nsd), nsd_ids)
    captions = dict(table.groupby("nsd_id", sort=False)["caption"].first())
    if lacking := [int(nsd_id) for nsd_id in nsd_ids if nsd_id not in captions]:
        raise ExtractionError(
            f"{len(lacking)} of {len(nsd_ids)} stimuli have no caption in {settings.paths.coco}, the first "
            f"nsd_id {lacking[0]}; get COCO's annotations again, or leave out models that read captions"
        )
    return captions


def _storage(storage: str, adapter) -> str:
    """Half precision on disk only for states that were computed in it."""
    if storage != "auto":
        return storage
    return "float32" if str(adapter.dtype) == "torch.float32" else "float16"


def _fingerprint(settings: Settings, extractor: Extractor) -> dict:
    """Everything the stored numbers depend on, by name."""
    features = settings.features
    return {
        "model": extractor.adapter.row.id,
        "data": settings.data,
        **extractor.adapter.fingerprint(),
        "instructions": {i.id: i.text for i in extractor.instructions},
        "pooling": features.pooling,
        "max_new_tokens": extractor.n_new,
        "seed": settings.stats.seed if extractor.rule.top_k else 0,
        **{f"version of {package}": version(package) for package in FINGERPRINTED_PACKAGES},
    }
