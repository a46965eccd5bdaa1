"""The command line: one thin module per command; nothing heavy is imported before a command runs."""

from spatialavatar.cli.main import main as main
