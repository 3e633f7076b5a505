"""Run the command as `python -m trainer.cli`."""

from trainer.cli.main import main

main()
