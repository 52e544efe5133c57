"""The phantom dataset: NSD's layout to the letter, known truth, the same bytes every time."""


def test_tree_is_complete(phantom_tree):
    assert sorted(path.name for path in phantom_tree.iterdir()) == ["coco", "nsd", "truth"]
