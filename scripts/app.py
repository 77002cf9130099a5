"""A page that speaks with several voices side by side: `make app VOICES="..." PORT=7860`."""

from evaluation.application import hydra_main


def main(config) -> None:
    """Serve the page; without Gradio, say how to install it."""
    from pipeline.errors import RecipeError

    try:
        from speech.app import serve_app
    except ModuleNotFoundError as error:
        raise RecipeError(f"{error}: `make app` installs requirements-app.txt") from None
    serve_app(config)


if __name__ == "__main__":
    hydra_main(main)
