"""Are the numbers those of the dataset?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ... import nsd
from ...tables import BETA_SCALE, N_TRIALS_PER_SESSION, ROI_BY_ID, subject_name
from .. import design, files, layout, reliability
from .files import check_file
from .findings import Finding, compare


def experiment(root, expected) -> Iterator[Finding]:
    """Files and numbers that all subjects share."""
    redo = "brainalign download"
    shared = None
    finding = check_file(root, layout.EXPDESIGN, nsd.read_design, root, remedy=redo)
    yield finding
    if finding.status == "ok":
        arrays = nsd.read_design(root)
        shared = np.ravel(arrays["sharedix"]).astype(int) - 1
        numbers = {
            "subjectim_first": arrays["subjectim"][0, :3].tolist(),
            "shared_first": shared[:5].tolist(),
            "shared_last": shared[-3:].tolist(),
        }
        for key, value in numbers.items():
            if key in expected:
                yield compare(f"{layout.EXPDESIGN}: {key}", value, expected[key])
        if "first_trial" in expected:
            ids = {int(_trials(arrays, s, 1)[0]) for s in range(1, len(arrays["subjectim"]) + 1)}
            yield compare(f"{layout.EXPDESIGN}: first_trial", ids, {expected["first_trial"]})
    finding = check_file(root, layout.STIM_INFO, nsd.read_stim_info, root, remedy=redo)
    yield finding
    if finding.status == "ok":
        table = nsd.read_stim_info(root)
        if "stim_info_rows" in expected:
            yield compare(f"{layout.STIM_INFO}: stim_info_rows", len(table), expected["stim_info_rows"])
        if shared is not None and not np.array_equal(np.flatnonzero(table.shared1000), np.sort(shared)):
            yield Finding(
                "unexpected", layout.STIM_INFO, "shared1000 differs from sharedix of the design", redo
            )
    finding = check_file(root, layout.STIMULI, _open_brick, root, remedy=redo)
    yield finding
    if finding.status == "ok" and "stimuli_shape" in expected:
        with nsd.StimulusBrick(root) as brick:
            yield compare(f"{layout.STIMULI}: stimuli_shape", list(brick.shape), expected["stimuli_shape"])


def _open_brick(root):
    nsd.StimulusBrick(root).close()


def _trials(arrays, subject, n_sessions):
    return design.trial_nsd_ids(arrays["subjectim"], arrays["masterordering"], subject, n_sessions)


def subject_numbers(root, subject, numbers) -> Iterator[Finding]:
    """Numbers of the self-check; files that cannot be read were reported before."""
    name = subject_name(subject)
    try:
        ijk, shape = nsd.read_mask(root, subject)
        found = {"shape": list(shape), "n_voxels": len(ijk), "first_voxels": ijk[:3].tolist()}
        arrays = nsd.read_design(root)
        found["first_trials"] = _trials(arrays, subject, 1)[:3].tolist()
    except nsd.NsdError:
        return
    for key, value in found.items():
        if key in numbers:
            yield compare(f"{name}: {key}", value, numbers[key])
    for volume, count in numbers.get("roi_voxels", {}).items():
        labels, names = _labels_or_none(root, subject, volume)
        if labels is not None:
            present = {names[k]: int((labels == k).sum()) for k in names if names[k] in count}
            yield compare(f"{name}: voxels of {volume}", present, count)
    for area, count in numbers.get("area_voxels", {}).items():
        volume = ROI_BY_ID[area].parts[0][0]
        labels, names = _labels_or_none(root, subject, volume)
        if labels is not None:
            mask = design.roi_mask(ROI_BY_ID[area], {volume: labels}, {volume: names})
            yield compare(f"{name}: voxels of {area}", int(mask.sum()), count)
    yield from _measured(root, subject, numbers, ijk, shape)
    yield from _behaviour(root, subject, arrays)


def _labels_or_none(root, subject, volume):
    try:
        return nsd.read_roi_labels(root, subject, volume)
    except nsd.NsdError:
        return None, None


def _measured(root, subject, numbers, ijk, shape):
    """Median noise ceiling, and mean and sd of the betas of one session."""
    name = subject_name(subject)
    path = root / layout.ncsnr_key(subject)
    if "noise_ceiling_median" in numbers and path.is_file():
        try:
            volume = files.read_volume(path)
            layout.check_grid(path, volume.shape, shape)
        except nsd.NsdError:  # reported with the files
            return
        ncsnr = volume[tuple(ijk.T)]
        median = 100 * float(np.nanmedian(reliability.noise_ceiling(ncsnr, 3)))
        yield compare(f"{name}: noise_ceiling_median", round(median, 2), numbers["noise_ceiling_median"])
    if check := numbers.get("betas"):
        try:
            labels, names = nsd.read_roi_labels(root, subject, check["volume"])
            session = nsd.session_files(root, subject, check["session"])[-1]
            wanted = [k for k, label in names.items() if label in check["labels"]]
            ijk = np.argwhere(np.isin(labels, wanted))
            values = nsd.read_session(session, ijk, labels.shape) / BETA_SCALE
        except nsd.NsdError:
            return
        for key, value in (("mean", values.mean()), ("std", values.std())):
            what = f"{name}: betas of session {check['session']}, {'+'.join(check['labels'])}: {key}"
            yield compare(what, round(float(value), 4), check[key])


def _behaviour(root, subject, arrays):
    """The behavioural log names the picture of each trial: a second source for the design."""
    key = f"nsddata/ppdata/{subject_name(subject)}/behav/responses.tsv"
    if not (root / key).is_file():
        return
    try:
        shown = pd.read_csv(root / key, sep="\t", usecols=["73KID"])["73KID"].to_numpy() - 1
        n_sessions = len(shown) // N_TRIALS_PER_SESSION
        same = np.array_equal(shown, _trials(arrays, subject, n_sessions))
    except (ValueError, design.DesignError) as error:
        yield Finding("damaged", key, str(error), f"brainalign download --subjects {subject}")
        return
    if same:
        yield Finding("ok", key, "pictures as in the design")
    else:
        yield Finding(
            "unexpected", key, "pictures differ from masterordering and subjectim", "download both again"
        )
