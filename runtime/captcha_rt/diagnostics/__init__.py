"""The work behind the commands `bench`, `doctor`, `explain` and `info --card`, as functions."""
