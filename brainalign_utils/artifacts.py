"""Paths of everything that a study writes."""

from pathlib import Path

from .tables import subject_name


class Paths:
    """Where a study keeps its files; the one place that knows."""

    def __init__(self, settings):
        self._settings = settings
        self.root = settings.build_root / settings.name

    @property
    def nsd(self) -> Path:
        """Root of the NSD tree, real or phantom."""
        return self._settings.nsd_root or self.root / "dataset" / "nsd"

    @property
    def fsaverage(self) -> Path | None:
        """NSD's average FreeSurfer subject, where its surfaces are on disk; the phantom has fsaverage5."""
        folder = self.nsd / "nsddata" / "freesurfer" / "fsaverage"
        is_there = self._settings.data == "nsd" and (folder / "surf" / "lh.white").is_file()
        return folder if is_there else None

    @property
    def coco(self) -> Path:
        return self._settings.coco_root or self.root / "dataset" / "coco"

    @property
    def truth(self) -> Path:
        """What the phantom knows about itself; not part of NSD's layout."""
        return self.root / "dataset" / "truth"

    def responses(self, subject: int) -> Path:
        return self.root / "responses" / f"{subject_name(subject)}.zarr"

    def voxels(self, subject: int) -> Path:
        """Regions, ceilings and places of voxels, without responses."""
        return self.root / "voxels" / f"{subject_name(subject)}.zarr"

    def features(self, model: str) -> Path:
        return self.root / "features" / model

    def answers(self, model: str) -> Path:
        return self.root / "answers" / f"{model}.parquet"

    def scores(self, subject: int, model: str) -> Path:
        return self.root / "scores" / subject_name(subject) / f"{model}.zarr"

    def predictions(self, subject: int, model: str) -> Path:
        return self.root / "predictions" / subject_name(subject) / f"{model}.zarr"

    def partition(self, subject: int, model: str) -> Path:
        return self.root / "partition" / subject_name(subject) / f"{model}.zarr"

    def nulls(self, subject: int, model: str) -> Path:
        """Scores of regressions on shuffled rows."""
        return self.root / "nulls" / subject_name(subject) / f"{model}.zarr"

    def samples(self, subject: int, model: str) -> Path:
        """Region means over resampled test images."""
        return self.root / "samples" / subject_name(subject) / f"{model}.zarr"

    def variants(self, subject: int, model: str) -> Path:
        """Scores of one instruction under other poolings, with and without session z-score."""
        return self.root / "choices" / subject_name(subject) / f"{model}.zarr"

    def cross_subject(self, subject: int) -> Path:
        """Cross-subject prediction accuracy, the second ceiling."""
        return self.root / "ceilings" / f"{subject_name(subject)}.zarr"

    def figure(self, name: str, suffix: str) -> Path:
        return self.root / "figures" / f"{name}.{suffix}"

    def table(self, name: str) -> Path:
        return self.root / "tables" / f"{name}.csv"

    def executed(self, notebook: str, *wildcards) -> Path:
        """Executed copy of a notebook, one per combination of its parameters."""
        stem = "_".join(map(str, wildcards)) or notebook
        return self.root / "notebooks" / notebook / f"{stem}.ipynb"
