"""The subcommands, a module each with `add_parser(subparsers)`."""
