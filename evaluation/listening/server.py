"""A small server for a listening test: it serves the page and its clips and collects answers.

It serves nothing but the files of the test. Answers are checked and durably stored before they are
acknowledged. No listener's address is logged.
"""

import asyncio
import socket
import sqlite3
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from evaluation.listening.answers import MAX_BYTES, AnswerError, read_key
from evaluation.listening.store import AnswerStore, DuplicateError
from pipeline.errors import RecipeError

REQUEST_SECONDS = 30
"""A connection is closed if a request does not arrive for this long."""
MAX_CONNECTIONS = 800
ANSWERS = "answers"
"""Address for answers, relative to the page."""
ADDRESS_TAG = 'name="answers-address" content=""'
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self'; connect-src *; img-src data:",
}


class ImpatientProtocol(H11Protocol):
    """Closes connections that stay silent before or within the head of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )


def make_app(folder: Path, completion: str = "") -> FastAPI:
    """Make the application that serves the test in `folder`.

    Args:
        folder: that `build` wrote.
        completion: code or address that participants get when their answers are stored.

    Raises:
        RecipeError: the folder does not hold a complete test.
    """
    key, index = read_key(folder), folder / "test" / "index.html"
    if not index.exists():
        raise RecipeError(f"{index.parent} holds no listening test: run `make listening-test`")
    page = index.read_text("utf-8")
    if key.test not in page:
        raise RecipeError(
            f"{folder}/key.json belongs to another test: run `make listening-test` again"
        )
    page = page.replace(ADDRESS_TAG, ADDRESS_TAG.replace('=""', f'="{ANSWERS}"'))
    store = AnswerStore(folder, key)
    next_listener = count(len(store))

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        yield
        store.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, max_body_size=MAX_BYTES)
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["Content-Type"]
    )

    @app.middleware("http")
    async def add_headers(request: Request, call_next):
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.api_route("/", methods=["GET", "HEAD"])
    @app.api_route("/index.html", methods=["GET", "HEAD"])
    async def show_page(request: Request):
        if request.url.path == "/" and "plan" not in request.query_params:
            # Plans are assigned in turn, so that each side of every pair is heard equally often.
            # What the address says about the participant is kept.
            plan = f"plan={next(next_listener) % len(key.plans)}"
            query = "&".join(filter(None, [plan, request.url.query]))
            return RedirectResponse(f"/?{query}", 303)
        return HTMLResponse(page)

    @app.post(f"/{ANSWERS}")
    async def collect(request: Request):
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                body = await request.body()
            await run_in_threadpool(store.add, body)
        except (TimeoutError, ClientDisconnect):
            return reply(408, reason="the answers did not arrive")
        except DuplicateError as error:
            return reply(409, reason=str(error), completion=completion)
        except AnswerError as error:
            return reply(400, reason=str(error))
        except sqlite3.Error:
            return reply(507, reason="the answers could not be stored")
        return reply(201, completion=completion)

    app.mount("/", StaticFiles(directory=folder / "test"))
    return app


def reply(status: int, **fields: str) -> JSONResponse:
    """Tell whether answers were stored, and why not or how to go on."""
    return JSONResponse({"stored": status == 201, **fields}, status)


def make_server(
    folder: Path, host: str, port: int, completion: str = ""
) -> tuple[uvicorn.Server, socket.socket]:
    """Make a server for the test in `folder`, and the socket for its `run(sockets=[...])`.

    Raises:
        RecipeError: the folder does not hold a complete test, or the host and port cannot be used.
    """
    app = make_app(folder, completion)
    try:
        listener = socket.create_server((host, port), backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise RecipeError(
            f"cannot listen at {host}:{port} ({error}): choose another with listening.port"
        ) from None
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=REQUEST_SECONDS,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config), listener
