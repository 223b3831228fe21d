"""Every background job, as a function with typed parameters, and how jobs are enqueued."""

from dataclasses import dataclass
from inspect import signature

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Retry
from rq import Worker as RqWorker
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer
from rq.utils import as_text
from rq.worker import BaseWorker

from portal import config
from portal.config import Settings
from portal.infra.redis_client import OPTIONS, breaker

PIXELS, NETWORK, WEBHOOKS, SCHEDULE = "pixels", "network", "webhooks", "schedule"
SYNC, CDN = "sync", "cdn"  # separate, so that slow syncs don't delay copies of pictures, nor the reverse
QUEUES = (PIXELS, NETWORK, WEBHOOKS, SYNC, CDN, SCHEDULE)

# Without Retry, RQ fails a job whose work-horse is killed. The first retry is immediate: the job resumes within 2 s.
# The second one finds SeaweedFS running again after a kill: it restarts within 2 s.
RETRY_INTERVALS_S = [0, 2, 10, 60]
RESULT_TTL_S = 600  # so that results and failures don't fill Redis
FAILURE_TTL_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Job:
    """A call of a function in `workers`, by name, with ids and plain data as arguments."""

    name: str
    args: tuple[int | str, ...]
    queue: str
    timeout_s: int
    type: str = ""  # what a contract calls it, for the operators' dashboard
    retry_intervals_s: tuple[int, ...] | None = None  # other than RETRY_INTERVALS_S

    @property
    def id(self) -> str:
        """The same for equal calls, so that a job is not queued twice."""
        return "-".join([self.name.rsplit(".", 1)[-1], *map(str, self.args)])


def make_variants(image_id: int) -> Job:
    return Job("workers.images.make_variants", (image_id,), PIXELS, timeout_s=120)


def make_avif(image_id: int, width_px: int) -> Job:
    return Job("workers.images.make_avif", (image_id, width_px), PIXELS, timeout_s=120)


def run_imports() -> Job:
    return Job("workers.imports.run_imports", (), NETWORK, timeout_s=180)


def deliver_webhooks() -> Job:
    return Job("workers.webhooks.deliver_webhooks", (), WEBHOOKS, timeout_s=180)


def sync_listings() -> Job:
    return Job("workers.listings.sync_listings", (), SYNC, timeout_s=240)


def image_cdn_upload() -> Job:
    # The type is the task's name in the Image CDN contract, "How It Works".
    return Job("workers.listings.image_cdn_upload", (), CDN, timeout_s=240, type="IMAGE_CDN_UPLOAD")


def clear_leftovers() -> Job:
    return Job("workers.listings.clear_leftovers", (), NETWORK, timeout_s=180)


def collect_garbage() -> Job:
    return Job("workers.sweep.collect_garbage", (), NETWORK, timeout_s=180)


def sweep() -> Job:
    # Retried only once: it is enqueued every 10 s anyway, but not while a retry is scheduled.
    return Job("workers.sweep.sweep", (), SCHEDULE, timeout_s=120, retry_intervals_s=(0,))


def tidy() -> Job:
    return Job("workers.sweep.tidy", (), NETWORK, timeout_s=3600)  # not in SCHEDULE: the sweep must not wait for it


def audit() -> Job:
    return Job("workers.audit.audit", (), NETWORK, timeout_s=600)  # a run takes a minute, unless a repair is slow


ALL = (
    make_variants,
    make_avif,
    run_imports,
    deliver_webhooks,
    sync_listings,
    image_cdn_upload,
    clear_leftovers,
    collect_garbage,
    sweep,
    tidy,
    audit,
)
"""Every job. Workers run nothing else."""

FORMER_NAMES = {"workers.sweep.ring_again": "workers.sweep.sweep"}
"""Names of the previous release, which may still be in a queue; accepted for one release."""


def examples() -> list[Job]:
    """Return one of each job, with arguments 0: no row has that id."""
    return [make(*[0 for _ in signature(make).parameters]) for make in ALL]


def connect(settings: Settings) -> None:
    """Create the current app's Redis client, which waits at most 0.25 s for an answer."""
    parts = config.parts()
    if "redis" in parts:
        parts["redis"].close()
    breaker.close()
    parts["redis"] = Redis.from_url(settings.redis_url or "redis://localhost", **OPTIONS)


def connection() -> Redis:
    """Return the current app's Redis client."""
    redis: Redis = config.parts()["redis"]
    return redis


def queue(name: str) -> Queue:
    return Queue(name, connection=connection(), serializer=JSONSerializer)


def enqueue(job: Job) -> None:
    """Enqueue a job. Raises redis.RedisError if Redis is down; its row stays pending, so the sweep enqueues it later.

    A job without arguments processes all due rows, so it is not enqueued again while one is waiting.
    """
    waiting, key = queue(job.queue), RqJob.key_for(job.id)
    with breaker.call(), connection().pipeline() as pipeline:
        if not job.args and connection().lpos(waiting.key, job.id) is not None and connection().exists(key):
            return
        _push(pipeline, job)
        pipeline.execute()


def enqueue_once(job: Job, every_s: int = 3600) -> None:
    """Enqueue an optional job at most once per `every_s`.

    The mark that prevents repetitions is set in the same transaction, so a crash leaves both or neither.
    """
    mark = f"frontage:enqueued:{job.id}"

    def push(pipeline: Pipeline) -> None:
        if not pipeline.exists(mark):
            pipeline.multi()
            pipeline.set(mark, 1, ex=every_s)
            _push(pipeline, job)

    with breaker.call():
        connection().transaction(push, mark)


def enqueue_missing(wanted: list[Job]) -> int:
    """Enqueue those of the jobs that are missing from Redis; return how many."""
    unknown = missing(wanted)
    for job in unknown:
        enqueue(job)
    return len(unknown)


def is_first(name: str, *, within_s: int) -> bool:
    """Return whether no process has called this with the same name in the last `within_s`. Raises redis.RedisError."""
    with breaker.call():
        return bool(connection().set(f"frontage:{name}", 1, nx=True, ex=within_s))


def missing(wanted: list[Job]) -> list[Job]:
    """Return the jobs that are neither queued nor running nor scheduled for a retry; a few Redis calls per queue."""
    known: set[str] = set()
    for name in {job.queue for job in wanted}:
        with breaker.call():
            known |= _known(queue(name))
    return [job for job in wanted if job.id not in known]


@dataclass(frozen=True)
class Worker:
    """A live worker: its queue, and the job that it is running, if any."""

    queue: str
    job: str | None = None  # the function's name within its module: "make_variants"
    args: tuple[int | str, ...] = ()


def workers() -> list[Worker]:
    """Return the live workers, sorted by queue, busy ones first. Raises redis.RedisError if Redis is down."""
    found = []
    with breaker.call():
        for worker in RqWorker.all(connection=connection(), serializer=JSONSerializer):
            queues = worker.queue_names()
            found.append(_at_work(queues[0] if queues else "", worker))
    return sorted(found, key=lambda worker: (worker.queue, worker.job is None))


def _push(pipeline: Pipeline, job: Job) -> None:
    """Add commands to a pipeline that store a job and put it into its queue."""
    intervals_s = RETRY_INTERVALS_S if job.retry_intervals_s is None else list(job.retry_intervals_s)
    queue(job.queue).enqueue_call(
        job.name,
        args=job.args,
        timeout=job.timeout_s,
        result_ttl=RESULT_TTL_S,
        failure_ttl=FAILURE_TTL_S,
        job_id=job.id,
        meta={"type": job.type} if job.type else None,
        retry=Retry(max=len(intervals_s), interval=intervals_s),
        pipeline=pipeline,
    )
    pipeline.persist(RqJob.key_for(job.id))  # otherwise it would expire with the result of its last run


def _known(waiting: Queue) -> set[str]:
    registries = (waiting.started_job_registry, waiting.scheduled_job_registry, waiting.deferred_job_registry)
    ids = {job_id for registry in registries for job_id in registry.get_job_ids(cleanup=False)}
    return ids.union(waiting.get_job_ids(), _ids(waiting.intermediate_queue_key))


def _at_work(queue_name: str, worker: BaseWorker) -> Worker:
    try:
        job = worker.get_current_job()
        if job is None or job.func_name is None:
            return Worker(queue_name)
        return Worker(queue_name, job.func_name.rpartition(".")[2], tuple(job.args))
    except (NoSuchJobError, DeserializationError):  # it has finished and expired, or was not written by us
        return Worker(queue_name)


def _ids(list_key: str) -> "list[str]":
    return [as_text(item) for item in connection().lrange(list_key, 0, -1)]
