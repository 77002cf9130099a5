"""Serve the listening test and collect answers until Ctrl-C."""

import signal
from pathlib import Path

from pipeline.entry_point import stage_script


def serve(config) -> None:
    from evaluation.listening.server import make_server

    folder, settings = Path(config.paths.listening), config.listening
    server = make_server(folder, settings.host, settings.port, str(settings.completion))
    host, port = server.server_address[:2]
    print(f"listening test at http://{host}:{port}/, answers in {folder / 'answers.jsonl'}")
    print("Press Ctrl-C to stop.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


main = stage_script(serve)

if __name__ == "__main__":
    main()
