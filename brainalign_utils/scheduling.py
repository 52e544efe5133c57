"""Snakemake's scheduler, held to the cores that it was given."""

from snakemake.scheduling.job_scheduler import JobScheduler

_select = JobScheduler.job_selector


def count_lone_jobs() -> None:
    """Make the scheduler subtract what a job takes that was ready alone.

    Snakemake 9.10 to 9.15 forget it and add it when the job ends, so that every such job lets one more run
    beside the others from then on (https://github.com/snakemake/snakemake/issues/3913).
    """

    def job_selector(self, jobs):
        selected = _select(self, jobs)
        if len(jobs) == 1:
            self.update_available_resources(selected)
        return selected

    JobScheduler.job_selector = job_selector
