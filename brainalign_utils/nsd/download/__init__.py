"""Download what a study needs from NSD's public bucket: resumable, parallel, verified."""

from .plan import TERMS, DownloadError, DownloadPlan, Remote, make_plan, needed_space, summary
from .transfer import MANIFEST, download

__all__ = [
    "MANIFEST",
    "TERMS",
    "DownloadError",
    "DownloadPlan",
    "Remote",
    "download",
    "make_plan",
    "needed_space",
    "summary",
]
