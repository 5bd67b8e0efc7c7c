"""The one error that people can mend themselves."""


class InputError(Exception):
    """Bad usage or bad input: one line that names the file, column, row or key and what to do.

    The command line prints it and exits with code 2; every other exception is a defect of ours.
    """
