"""What the jobs of a study ask a cluster for, as the ``cluster`` section of the settings says it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

RULES = (
    "make_phantom", "load_responses", "extract_features", "fit_encoding", "partition_variance",
    "vary_choices", "result", "book",
)  # fmt: skip
"""Kinds of jobs, as the workflow names them."""

Name = Annotated[str, Field(pattern=r"^[\w.,:-]+$", max_length=100)]
"""Of a partition or an account: it becomes an argument of ``sbatch``."""


class JobRequest(BaseModel):
    """One kind of job; what is left out follows from the plan.

    Attributes
    ----------
    cpus, gpus : int or None
    mem_mb : int or None
        Megabytes of memory of the first attempt; doubled at each retry.
    minutes : int or None
        Wall time of the first attempt; doubled at each retry.
    partition : str or None
        Instead of the section's ``partition`` or ``gpu_partition``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: int | None = Field(None, ge=1, le=512)
    gpus: int | None = Field(None, ge=0, le=8)
    mem_mb: int | None = Field(None, ge=1)
    minutes: int | None = Field(None, ge=1)
    partition: Name | None = None


class ClusterSettings(BaseModel):
    """Partitions and requests.

    Attributes
    ----------
    partition, gpu_partition : str or None
        For jobs without and with a GPU; null takes the cluster's default.
    account : str or None
    subjects_per_job : int or None
        Subjects whose responses one job loads or fits; null takes one for real data, all for the miniature.
    rules : dict of str to JobRequest
        Keys are names of :data:`RULES`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: Name | None = None
    gpu_partition: Name | None = None
    account: Name | None = None
    subjects_per_job: int | None = Field(None, ge=1)
    rules: dict[Literal[RULES], JobRequest] = {}

    def request(self, rule: str, planned: JobRequest) -> JobRequest:
        """What a job asks for: the settings where they say something, else what was planned.

        Parameters
        ----------
        rule : str
            One of :data:`RULES`.
        planned : JobRequest

        Returns
        -------
        JobRequest
            The partition may still be None; all else has a value.
        """
        given = self.rules.get(rule, JobRequest()).model_dump(exclude_none=True)
        request = planned.model_copy(update=given)
        if request.partition is None:
            name = (self.gpu_partition or self.partition) if request.gpus else self.partition
            request = request.model_copy(update={"partition": name})
        return request
