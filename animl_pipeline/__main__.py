"""`python -m animl_pipeline` is `pipeline`."""

from animl_pipeline.cli import main

if __name__ == "__main__":
    main()
