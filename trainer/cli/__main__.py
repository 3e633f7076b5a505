"""Entry point of `python -m trainer.cli`."""

from trainer.cli.main import main

main()
