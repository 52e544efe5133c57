"""The experiment on paper: who sees which picture when, in NSD's own tables.

Known numbers of the real experiment are planted (first trials, shared pictures, the
public ``special100`` pairs); everything between them is drawn by chance.
"""

import re
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

import numpy as np
import pandas as pd

from .errors import PhantomError

N_STIMULI, N_PER_SUBJECT, N_SHARED, N_SUBJECTS = 73000, 10000, 1000, 8
N_SESSIONS, N_TRIALS, N_RUNS, N_SLOTS = 40, 750, 12, 75
RUN_TRIALS = (63, 62) * 6
"""Stimulus trials of the twelve runs of a session: odd runs 63, even runs 62."""

FIRST_TRIAL = 46003
"""Picture of the first trial of everyone, 1-based 73k id; a shared one."""
FIRST_OWN = (61883, 829)
"""Second and third trial of subject 1, 1-based."""
SHARED_ANCHORS = {0: 2951, 1: 2991, 2: 3050, 3: 3078, 4: 3147, 997: 72606, 998: 72720, 999: 72949}


def subject_name(subject: int) -> str:
    """Folder name of a subject, ``subj01`` for 1."""
    return f"subj{subject:02d}"


@dataclass(frozen=True)
class Experiment:
    """NSD's design, 1-based as on disk.

    Attributes
    ----------
    sharedix : int array of shape (1000,)
        Shared pictures, sorted.
    subjectim : int array of shape (8, 10000)
        Pictures of each subject, the shared ones first.
    masterordering : int array of shape (30000,)
        10k index of each trial, the same for all subjects.
    stimpattern : int array of shape (40, 12, 75)
        1 where a slot of a run holds a stimulus trial.
    """

    sharedix: np.ndarray
    subjectim: np.ndarray
    masterordering: np.ndarray
    stimpattern: np.ndarray

    def trials(self, subject: int, n_sessions: int) -> np.ndarray:
        """0-based nsd_id of each trial of the first sessions, (n_trials,)."""
        index = self.masterordering[: N_TRIALS * n_sessions] - 1
        return self.subjectim[subject - 1, index] - 1

    def basiccnt(self) -> np.ndarray:
        """Distinct pictures a session that it shows once, twice, three times, (3, 40)."""
        counts = np.zeros((3, N_SESSIONS), np.int32)
        for session, trials in enumerate(self.masterordering.reshape(N_SESSIONS, N_TRIALS)):
            times = np.unique(trials, return_counts=True)[1]
            counts[:, session] = [(times == n).sum() for n in (1, 2, 3)]
        return counts


def make_experiment(n_sessions: int, n_shared: int, seed: int) -> Experiment:
    """Draw a design whose first sessions show every picture they show three times.

    Parameters
    ----------
    n_sessions : int
        Sessions that will be written.
    n_shared : int
        Shared pictures among those of these sessions.
    seed : int

    Raises
    ------
    PhantomError
        If the sessions cannot hold that many shared pictures, or too few own ones exist.
    """
    n_pictures = N_TRIALS * n_sessions // 3
    lowest, highest = max(20, n_pictures - (N_PER_SUBJECT - N_SHARED)), min(N_SHARED, n_pictures - 20)
    if not lowest <= n_shared <= highest:
        raise PhantomError(
            f"{n_shared} shared images do not fit: {n_sessions} session(s) show {n_pictures} images 3 times; "
            f"take {lowest} to {highest} shared ones, or another number of sessions"
        )
    rng = np.random.default_rng([seed, 21])
    sharedix = _shared_pictures(rng)
    subjectim = _subject_pictures(sharedix, rng)
    early = _early_pictures(sharedix, subjectim, n_pictures, n_shared, rng)
    order = _three_times_each(early, rng)
    late = np.setdiff1d(np.arange(1, N_PER_SUBJECT + 1), early)
    order = np.concatenate([order, rng.permutation(np.repeat(late, 3))])
    return Experiment(sharedix, subjectim, order.astype(np.int32), _stimulus_pattern(rng))


def special_pairs() -> dict[int, int]:
    """Shared number to 73k id, both 1-based, of NSD's 100 special pictures (its published file names)."""
    text = resources.files(__package__).joinpath("nsd_special100_names.txt").read_text()
    return {int(a): int(b) for a, b in re.findall(r"shared(\d+)_nsd(\d+)", text)}


def _shared_pictures(rng):
    anchors = {**SHARED_ANCHORS, **{number - 1: picture for number, picture in special_pairs().items()}}
    if FIRST_TRIAL not in anchors.values():
        below = max(i for i, picture in anchors.items() if picture < FIRST_TRIAL)
        anchors[below + 1] = FIRST_TRIAL
    known = sorted(anchors.items())
    sharedix = np.zeros(N_SHARED, np.int32)
    for (i, low), (j, high) in pairwise(known):
        between = low + 1 + rng.choice(high - low - 1, j - i - 1, replace=False)
        sharedix[i : j + 1] = [low, *np.sort(between), high]
    return sharedix


def _subject_pictures(sharedix, rng):
    """The other 72000 pictures dealt out to the eight subjects, planted ones to subject 1."""
    own = np.setdiff1d(np.arange(1, N_STIMULI + 1), [*sharedix, *FIRST_OWN])
    dealt = np.concatenate([FIRST_OWN, rng.permutation(own)]).reshape(N_SUBJECTS, -1)
    return np.hstack([np.tile(sharedix, (N_SUBJECTS, 1)), dealt]).astype(np.int32)


def _early_pictures(sharedix, subjectim, n_pictures, n_shared, rng):
    """10k indices of the pictures in the first sessions; the planted trials lead."""
    first = 1 + int(np.searchsorted(sharedix, FIRST_TRIAL))
    own = [1 + int(np.flatnonzero(subjectim[0] == picture)[0]) for picture in FIRST_OWN]
    shared = rng.permutation(np.setdiff1d(np.arange(1, N_SHARED + 1), first))[: n_shared - 1]
    others = np.setdiff1d(np.arange(N_SHARED + 1, N_PER_SUBJECT + 1), own)
    others = rng.permutation(others)[: n_pictures - n_shared - len(own)]
    return np.concatenate([[first, *own], shared, others]).astype(int)


def _three_times_each(pictures, rng):
    """Each picture three times in random order; the first three trials are the first three pictures."""
    rest = np.concatenate([pictures, pictures, pictures[3:]])
    return np.concatenate([pictures[:3], rng.permutation(rest)])


def _stimulus_pattern(rng):
    """Blank trials: the first three and last slots of a run, the others by chance."""
    pattern = np.zeros((N_SESSIONS, N_RUNS, N_SLOTS), np.uint8)
    for session in range(N_SESSIONS):
        for run, n_trials in enumerate(RUN_TRIALS):
            slots = 3 + np.sort(rng.choice(N_SLOTS - 7, n_trials, replace=False))
            pattern[session, run, slots] = 1
    return pattern


def stimulus_table(experiment: Experiment, coco_ids, seed: int) -> pd.DataFrame:
    """``nsd_stim_info_merged.csv``: one row a picture, in nsd_id order.

    Parameters
    ----------
    experiment : Experiment
    coco_ids : int array of shape (73000,)
        COCO id of each picture.
    seed : int
    """
    rng = np.random.default_rng([seed, 22])
    nsd_id = np.arange(N_STIMULI)
    table = pd.DataFrame({"cocoId": coco_ids, "cocoSplit": coco_split(nsd_id), "cropBox": "(0, 0, 0.0, 0.0)"})
    table["loss"] = rng.beta(1.5, 8, N_STIMULI).round(6)
    table["nsdId"] = nsd_id
    table["flagged"] = table["BOLD5000"] = False
    table["shared1000"] = np.isin(nsd_id + 1, experiment.sharedix)
    trials = np.argsort(experiment.masterordering, kind="stable").reshape(N_PER_SUBJECT, 3) + 1
    repeats = {}
    for subject in range(1, N_SUBJECTS + 1):
        shown = experiment.subjectim[subject - 1] - 1
        table[f"subject{subject}"] = np.isin(nsd_id, shown).astype(int)
        times = np.zeros((N_STIMULI, 3), int)
        times[shown] = trials
        repeats.update({f"subject{subject}_rep{n}": times[:, n] for n in range(3)})
    return pd.concat([table, pd.DataFrame(repeats)], axis=1)


def coco_split(nsd_id) -> np.ndarray:
    """COCO split of each picture: about one in twenty-four stands in val2017, as in NSD."""
    return np.where(np.asarray(nsd_id) % 24 == 13, "val2017", "train2017")


def response_table(experiment: Experiment, subject: int, n_sessions: int, seed: int) -> pd.DataFrame:
    """``responses.tsv``: the subject's old-or-new judgement of every trial, in time order.

    Recognition is simulated: hits fall with the number of trials in between.
    """
    rng = np.random.default_rng([seed, subject, 23])
    trials = experiment.trials(subject, n_sessions)
    n = len(trials)
    session, within = np.divmod(np.arange(n), N_TRIALS)
    run_start = np.concatenate([[0], np.cumsum(RUN_TRIALS)])
    run = np.searchsorted(run_start, within, side="right")
    slots = experiment.stimpattern[:n_sessions].reshape(-1, N_SLOTS)
    seconds = 36000 + (run - 1) * 360 + 4.0 * np.nonzero(slots)[1]
    recent, first = _memory(trials)
    is_old = np.isfinite(recent)
    is_old_today = is_old & (recent < within)
    silent = rng.random(n) < 0.01
    p_correct = np.where(is_old, 0.55 + 0.4 * np.exp(-np.nan_to_num(recent) / 500), 0.78)
    correct = np.where(silent, np.nan, rng.random(n) < p_correct)
    button = np.where(silent, np.nan, np.where(correct == is_old, 2, 1))
    columns = {
        "SUBJECT": subject,
        "SESSION": session + 1,
        "RUN": run,
        "TRIAL": within - run_start[run - 1] + 1,
        "73KID": trials + 1,
        "10KID": experiment.masterordering[:n],
        "TIME": (session * 7 + seconds / 86400).round(8),
        "ISOLD": is_old.astype(int),
        "ISCORRECT": correct,
        "RT": np.where(silent, np.nan, rng.gamma(9, 100, n).round(3)),
        "CHANGEMIND": np.where(silent, np.nan, rng.random(n) < 0.02),
        "MEMORYRECENT": recent,
        "MEMORYFIRST": first,
        "ISOLDCURRENT": is_old_today.astype(int),
        "ISCORRECTCURRENT": np.where(is_old_today == is_old, correct, 1 - correct),
        "TOTAL1": (button == 1).astype(int),
        "TOTAL2": (button == 2).astype(int),
        "BUTTON": button,
        "MISSINGDATA": 0,
    }
    return pd.DataFrame(columns, index=np.arange(n))


def _memory(trials):
    """Trials in between this and the last, and the first, presentation; NaN at the first."""
    frame = pd.DataFrame({"picture": trials, "trial": np.arange(len(trials), dtype=float)})
    by_picture = frame.groupby("picture")["trial"]
    recent = frame["trial"] - by_picture.shift(1) - 1
    first = (frame["trial"] - by_picture.transform("first") - 1).where(recent.notna())
    return recent.to_numpy(), first.to_numpy()
