"""Running a study: one notebook headless (``execute``), and what all of them will cost (``plan``)."""
