"""The command line: one command a file. Only this room prints and exits."""
