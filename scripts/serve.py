"""Serve the listening test and collect answers, until Ctrl-C."""

import signal
from pathlib import Path

from common import stage_script
from preprocessing.errors import RecipeError


def serve(config) -> None:
    from evaluation.listening.server import make_server

    folder = Path(config.paths.listening)
    try:
        server = make_server(folder, config.listening.host, config.listening.port)
    except OSError as error:
        raise RecipeError(
            f"cannot listen at {config.listening.host}:{config.listening.port} ({error}): choose "
            "another with listening.port"
        ) from None
    host, port = server.server_address[:2]
    print(f"listening test at http://{host}:{port}/, answers in {folder / 'answers.jsonl'}")
    print("Ctrl-C ends it.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")


main = stage_script(serve)

if __name__ == "__main__":
    main()
