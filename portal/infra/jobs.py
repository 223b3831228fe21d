"""Every background job as a function with real parameters, and how it is enqueued."""

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
from portal.infra.circuit_breaker import OPTIONS, breaker

PIXELS, NETWORK, WEBHOOKS, SCHEDULE = "pixels", "network", "webhooks", "schedule"
SYNC, CDN = "sync", "cdn"  # a PMS that is slow keeps no picture waiting, nor its pictures a PMS
QUEUES = (PIXELS, NETWORK, WEBHOOKS, SYNC, CDN, SCHEDULE)

# Without Retry a killed job is failed at once (reliability.md, decision 9). At first without delay: case I1.
RETRY_INTERVALS_S = [0, 10, 60]
RESULT_TTL_S = 600  # case I18: results and failures must not fill Redis
FAILURE_TTL_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Job:
    """A call of a function in `workers`, by name, with ids and plain data only."""

    name: str
    args: tuple[int | str, ...]
    queue: str
    timeout_s: int
    type: str = ""  # what a contract calls it, for the operators' dashboard
    retry_intervals_s: tuple[int, ...] | None = None  # other than RETRY_INTERVALS_S

    @property
    def id(self) -> str:
        """The same for the same call, so that a job is enqueued once."""
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
    return Job("workers.listings.image_cdn_upload", (), CDN, timeout_s=240, type="IMAGE_CDN_UPLOAD")  # seed A's word


def clear_leftovers() -> Job:
    return Job("workers.listings.clear_leftovers", (), NETWORK, timeout_s=180)


def collect_garbage() -> Job:
    return Job("workers.sweep.collect_garbage", (), NETWORK, timeout_s=180)


def sweep() -> Job:
    # Retried once, if its worker was killed: the clock comes every 10 s, but not while a retry is scheduled.
    return Job("workers.sweep.sweep", (), SCHEDULE, timeout_s=120, retry_intervals_s=(0,))


def tidy() -> Job:
    return Job("workers.sweep.tidy", (), NETWORK, timeout_s=3600)  # long: the sweep must not wait for it


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
)
"""Every job there is: the workers run nothing else."""

FORMER_NAMES = {"workers.sweep.ring_again": "workers.sweep.sweep"}
"""Names of the release before, which may still wait in a queue; accepted for one release."""


def examples() -> list[Job]:
    """One of each, for row 0, which isn't there."""
    return [make(*[0 for _ in signature(make).parameters]) for make in ALL]


def connect(settings: Settings) -> None:
    """Give the current app its client. It never blocks for long: Redis answers within a second, or it isn't there."""
    parts = config.parts()
    if "redis" in parts:
        parts["redis"].close()
    breaker.close()
    parts["redis"] = Redis.from_url(settings.redis_url or "redis://localhost", **OPTIONS)


def connection() -> Redis:
    """Return the client of the current app."""
    redis: Redis = config.parts()["redis"]
    return redis


def queue(name: str) -> Queue:
    return Queue(name, connection=connection(), serializer=JSONSerializer)


def enqueue(job: Job) -> None:
    """Enqueue a job. Raises redis.RedisError where Redis is away; the row stays pending, and the sweep enqueues it.

    A job without arguments does all that is due, so where one waits already, no second one is enqueued.
    """
    waiting, key = queue(job.queue), RqJob.key_for(job.id)
    with breaker.call(), connection().pipeline() as pipeline:
        if not job.args and connection().lpos(waiting.key, job.id) is not None and connection().exists(key):
            return
        _push(pipeline, job)
        pipeline.execute()


def enqueue_once(job: Job, every_s: int = 3600) -> None:
    """Enqueue a job that is a luxury, once in a while, however often it is wished for.

    The mark that it was is set in the transaction that enqueues: a crash leaves both or neither.
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
    """Enqueue those of the jobs that nobody knows of; return how many they were."""
    unknown = missing(wanted)
    for job in unknown:
        enqueue(job)
    return len(unknown)


def is_first(name: str, *, within_s: int) -> bool:
    """Whether nobody asked this in as many seconds before, in any process. Raises redis.RedisError."""
    with breaker.call():
        return bool(connection().set(f"frontage:{name}", 1, nx=True, ex=within_s))


def missing(wanted: list[Job]) -> list[Job]:
    """Return those that no queue, no worker and no retry schedule knows of. A fixed number of Redis calls."""
    known: set[str] = set()
    for name in {job.queue for job in wanted}:
        with breaker.call():
            known |= _known(queue(name))
    return [job for job in wanted if job.id not in known]


@dataclass(frozen=True)
class Worker:
    """What Redis knows of a worker: its queue, and the job in its hands, if there is one."""

    queue: str
    job: str | None = None  # the function's name within its module: "make_variants"
    args: tuple[int | str, ...] = ()


def workers() -> list[Worker]:
    """Return the workers that live, by queue. Raises redis.RedisError where Redis is away."""
    found = []
    with breaker.call():
        for worker in RqWorker.all(connection=connection(), serializer=JSONSerializer):
            queues = worker.queue_names()
            found.append(_at_work(queues[0] if queues else "", worker))
    return sorted(found, key=lambda worker: (worker.queue, worker.job is None))


def _push(pipeline: Pipeline, job: Job) -> None:
    """Write a job and put it into its queue, when the pipeline is executed."""
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
    pipeline.persist(RqJob.key_for(job.id))  # RQ leaves it the lifetime of the last run's result


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
    except (NoSuchJobError, DeserializationError):  # done and gone since, or not written by us
        return Worker(queue_name)


def _ids(list_key: str) -> "list[str]":
    return [as_text(item) for item in connection().lrange(list_key, 0, -1)]
