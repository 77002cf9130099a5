"""Serve the listening test and collect answers, until Ctrl-C."""

import signal
from pathlib import Path

from pipeline.entry_point import stage_script


def serve(config) -> None:
    from evaluation.listening.server import make_server

    folder = Path(config.paths.listening)
    server = make_server(folder, config.listening.host, config.listening.port)
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
