"""Examples in docstrings that read a finished study: they are written for the small one."""

import pytest
from test_examples import examples, modules, run

SMALL = "workflow/config/phantom-small.yml"


@pytest.mark.browser
@pytest.mark.parametrize("module", modules())
def test_examples_on_the_small_study(module, request):
    if not request.config.getoption("--settings").endswith(SMALL):
        pytest.skip(f"examples read the study of {SMALL}")
    from brainalign_utils import nsd, store
    from brainalign_utils.encoding import fitting
    from brainalign_utils.features.store import feature_spaces
    from brainalign_utils.nsd import coco
    from brainalign_utils.results import study
    from brainalign_utils.settings import load_settings

    names = {
        "fitting": fitting,
        "store": store,
        "feature_spaces": feature_spaces,
        "study": study,
        "nsd": nsd,
        "coco": coco,
    }
    tests = examples(module, of_studies=True, load_settings=load_settings, **names)
    assert not (said := run(tests)), said
