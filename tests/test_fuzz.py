"""Files from elsewhere, damaged in any way: they are read as what they say, or refused by name."""

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from brainalign_utils import nsd
from brainalign_utils.nsd import layout
from brainalign_utils.settings import Settings, SettingsError, load_settings

SLOWLY = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
sections = {name: type(value) for name, value in Settings() if hasattr(value, "model_fields")}
keys = st.sampled_from(sorted(Settings.model_fields))


def fields(section):
    return st.dictionaries(st.sampled_from(sorted(section.model_fields)), values, max_size=3)


overrides = st.dictionaries(keys, values, max_size=3) | st.one_of(
    st.fixed_dictionaries({name: fields(section)}) for name, section in sections.items()
)


def check(found: Settings):
    """What every accepted settings file promises to the rest."""
    alphas = found.alphas()
    assert len(alphas) == found.encoding.n_alphas and np.all(np.isfinite(alphas)) and min(alphas) > 0
    assert found.paths.root.parent == found.build_root and found.paths.root != found.build_root
    assert found.paths.responses(found.subjects[0]).is_relative_to(found.paths.root)
    np.random.default_rng(found.stats.seed), np.random.default_rng(found.phantom.seed)
    assert load_settings(**found.model_dump(mode="json")) == found


@SLOWLY
@given(overrides)
@example({"encoding": {"log10_alpha_max": float("inf")}})
@example({"encoding": {"log10_alpha_max": 1e308}})
@example({"stats": {"seed": -1}})
@example({"phantom": {"seed": -1}})
@example({"name": ".."})
@example({"subjects": [1, 1]})
@example({"models": ["vit-h", "vit-h"]})
@example({"instructions": ["IC", "IC"]})
@example({"build_root": "a\0b"})
@example({"encoding": {"n_alphas": 10**12}})
@example({"convention": []})
@example({"partition": {"triples": [["IC", "IC", "IU1"]]}})
@example({"partition": {"triples": "some"}})
def test_any_values_are_settings_or_refused(changes):
    try:
        found = load_settings(**changes)
    except SettingsError as error:
        assert str(error).startswith("settings ")
        return
    check(found)


@SLOWLY
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | overrides.map(lambda v: yaml.safe_dump(v).encode())
)
@example(b"\xff\xfe")
@example(b"name: &a [*a]")
@example(b"a: &a [x]\nb: [*a, *a]")
@example(b"[" * 5000)
@example(b"? {}\n: 1")
@example(b"1: 2")
@example(b"name: 2026-99-99")
def test_any_file_is_settings_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("settings") / "s.yml"
    path.write_bytes(content)
    try:
        found = load_settings(path)
    except SettingsError as error:
        assert str(path) in str(error)
        return
    check(found)


STIM_INFO = pd.DataFrame(
    {
        "cocoId": [532481, 245764, 385029],
        "cocoSplit": ["val2017", "train2017", "val2017"],
        "cropBox": ["(0, 0, 0.1671875, 0.1671875)", "(0.0, 0.2, 0, 0)", "(0, 0, 0, 0)"],
        "nsdId": [0, 1, 2],
        "shared1000": [False, True, False],
    }
)


@pytest.fixture(scope="module")
def stim_info(tmp_path_factory):
    root = tmp_path_factory.mktemp("nsd")
    path = root / layout.STIM_INFO
    path.parent.mkdir(parents=True)
    STIM_INFO.to_csv(path, index_label="")
    return root, path, path.read_bytes()


def check_stim_info(root):
    """Any table that is accepted has the types that the rest counts on."""
    try:
        table = nsd.read_stim_info(root)
    except nsd.DamagedFileError:
        return None
    assert table.index.equals(pd.RangeIndex(len(table)))
    assert table.shared1000.dtype == bool and table.cocoId.dtype == np.int64
    assert set(table.cocoSplit) <= {"train2017", "val2017"}
    return table


def test_stim_info_comes_back(stim_info):
    root, path, content = stim_info
    path.write_bytes(content)
    pd.testing.assert_frame_equal(
        check_stim_info(root), STIM_INFO.rename_axis("nsd_id"), check_index_type=False
    )


@SLOWLY
@given(st.data())
def test_damaged_stim_info_is_read_or_refused(stim_info, data):
    root, path, content = stim_info
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    stop = data.draw(st.integers(0, len(damaged)))
    path.write_bytes(bytes(damaged[:stop] if data.draw(st.booleans()) else damaged))
    check_stim_info(root)


@pytest.mark.parametrize("old, new", [(b"True", b"Tru?"), (b"val2017", b"val2071"), (b"532481", b"53.481")])
def test_one_wrong_cell_of_stim_info_is_named(stim_info, old, new):
    root, path, content = stim_info
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(nsd.DamagedFileError, match=new.decode().replace("?", r"\?")):
        nsd.read_stim_info(root)


@given(st.integers(10**308, 10**400))
def test_huge_crop_box_is_refused(number):
    with pytest.raises(nsd.DamagedFileError, match="cropBox"):
        layout.parse_crop_box(f"({number}, 0, 0, 0)")
