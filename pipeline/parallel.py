"""Work spread over processes by joblib: of this machine, or of a Ray or Dask cluster.

Processes on other machines find files by the same absolute paths, and have this project installed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig

from pipeline.errors import RecipeError
from pipeline.settings import chosen

ROUND = 32
"""calls for each of Ray's processes before results are seen, as its backend gives lists only"""


def spread(function: Callable, arguments: Sequence[tuple], parallel: DictConfig) -> Iterator[Any]:
    """Results of `function(*each)` for each of some arguments, in order, as they come.

    Args:
        function: of a module, so that other processes can import it.
        arguments: of each call; paths in them are absolute.
        parallel: of the configuration.

    Raises:
        RecipeError: `parallel.backend` is unknown or not installed, or there is no such cluster.
    """
    from joblib import Parallel, delayed, parallel_config

    backends = {"loky": _this_machine, "ray": _ray, "dask": _dask}
    backend = chosen("parallel.backend", parallel.backend, backends)
    tasks = [delayed(function)(*each) for each in arguments]
    with backend(parallel) as processes:
        return_as = "list" if parallel.backend == "ray" else "generator"
        with parallel_config(backend=parallel.backend):  # which registers Dask's, too
            pool = Parallel(n_jobs=processes, batch_size=1, return_as=return_as)
        if return_as == "generator":
            yield from pool(tasks)
            return
        with pool:
            for first in range(0, len(tasks), ROUND * processes):
                yield from pool(tasks[first : first + ROUND * processes])


@contextmanager
def _this_machine(parallel: DictConfig) -> Iterator[int]:
    if parallel.address is not None:
        raise RecipeError(
            f"parallel.address={parallel.address} is of a cluster: say which by "
            "parallel.backend=ray or dask"
        )
    from joblib.externals.loky import get_reusable_executor

    yield parallel.workers
    # joblib would keep these processes, and take what the next work has them import for a leak.
    get_reusable_executor().shutdown()


@contextmanager
def _ray(parallel: DictConfig) -> Iterator[int]:
    """Connect to a Ray, or start one on this machine; the processes that it can run."""
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
        # Ray 2.60 starts clusters that ask for tokens, but sends none unless told to.
        hint = f"{error} (of a cluster that asks for a token, set RAY_AUTH_MODE=token)"
        raise _not_reached("Ray", parallel.address, hint) from error
    register_ray()
    try:
        cores = int(ray.cluster_resources()["CPU"])
        yield cores if parallel.workers < 0 else min(parallel.workers, cores)
    finally:
        ray.shutdown()


@contextmanager
def _dask(parallel: DictConfig) -> Iterator[int]:
    """Connect to a Dask scheduler, or start one on this machine; the processes it can run."""
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


def _cores(parallel: DictConfig) -> int:
    from joblib import cpu_count

    return cpu_count() if parallel.workers < 0 else parallel.workers


def _not_installed(package: str) -> RecipeError:
    return RecipeError(
        f"parallel.backend needs the package {package}, which is not installed: `make cluster` "
        "installs what clusters need"
    )


def _not_reached(name: str, address: str | None, error: object) -> RecipeError:
    where = f"at parallel.address={address}" if address else "on this machine"
    return RecipeError(f"no {name} can be had {where}: {error}")
