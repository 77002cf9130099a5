"""A parallel `map` on joblib: over processes of this machine, or of a Ray or Dask cluster.

On a cluster, files have to be at the same absolute paths on all machines, and this project has to
be installed on each.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.errors import RecipeError
from pipeline.sections import ParallelSettings

ROUND = 32
"""Calls per Ray process and round. joblib's Ray backend returns whole lists, so results, and with
them progress, arrive once a round."""


def parallel_map(
    function: Callable, arguments: Sequence[tuple], parallel: ParallelSettings
) -> Iterator[Any]:
    """Yield `function(*each)` for each tuple of arguments, in order, as soon as it is known.

    Args:
        function: defined in a module, so that other processes can import it.
        arguments: of each call; paths among them are absolute.
        parallel: that section of the configuration.

    Raises:
        RecipeError: `parallel.backend` is not installed, or its cluster cannot be reached.
    """
    from joblib import Parallel, delayed, parallel_config

    backends = {"loky": _this_machine, "ray": _ray, "dask": _dask}
    tasks = [delayed(function)(*each) for each in arguments]
    with backends[parallel.backend](parallel) as processes:
        return_as = "list" if parallel.backend == "ray" else "generator"
        with parallel_config(backend=parallel.backend):  # also registers Dask's backend
            pool = Parallel(n_jobs=processes, batch_size=1, return_as=return_as)
        if return_as == "generator":
            yield from pool(tasks)
            return
        with pool:
            for first in range(0, len(tasks), ROUND * processes):
                yield from pool(tasks[first : first + ROUND * processes])


@contextmanager
def _this_machine(parallel: ParallelSettings) -> Iterator[int]:
    if parallel.address is not None:
        raise RecipeError(
            f"parallel.address={parallel.address} needs a cluster: choose parallel.backend=ray "
            "or dask"
        )
    from joblib.externals.loky import get_reusable_executor

    yield parallel.workers
    # joblib would reuse these processes, and would take the next function's imports for a leak.
    get_reusable_executor().shutdown()


@contextmanager
def _ray(parallel: ParallelSettings) -> Iterator[int]:
    """Connect to a Ray cluster, or start one here; yield the number of processes to use."""
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise _not_installed("ray") from error
    here = {"num_cpus": _cores(parallel), "include_dashboard": False}
    where = {"address": parallel.address} if parallel.address else {"address": "local", **here}
    try:
        ray.init(**where, log_to_driver=False, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError) as error:
        # Ray 2.60 starts clusters that require a token, but sends none by default.
        hint = f"{error} (if the cluster requires a token, set RAY_AUTH_MODE=token)"
        raise _not_reached("Ray", parallel.address, hint) from error
    register_ray()
    try:
        cores = int(ray.cluster_resources()["CPU"])
        yield cores if parallel.workers < 0 else min(parallel.workers, cores)
    finally:
        ray.shutdown()


@contextmanager
def _dask(parallel: ParallelSettings) -> Iterator[int]:
    """Connect to a Dask scheduler, or start one here; yield the number of processes to use."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise _not_installed("distributed") from error
    if parallel.address is None:
        started = LocalCluster(
            n_workers=_cores(parallel), threads_per_worker=1, dashboard_address=None
        )
    else:
        started = parallel.address
    try:
        client = Client(started, timeout=30)
    except (OSError, ValueError) as error:
        raise _not_reached("Dask", parallel.address, error) from error
    try:
        yield parallel.workers
    finally:
        client.close()
        if parallel.address is None:
            started.close()


def _cores(parallel: ParallelSettings) -> int:
    from joblib import cpu_count

    return cpu_count() if parallel.workers < 0 else parallel.workers


def _not_installed(package: str) -> RecipeError:
    return RecipeError(
        f"parallel.backend needs the package {package}, which is not installed: run `make cluster`"
    )


def _not_reached(name: str, address: str | None, error: object) -> RecipeError:
    where = f"at parallel.address={address}" if address else "on this machine"
    return RecipeError(f"cannot connect to {name} {where}: {error}")
