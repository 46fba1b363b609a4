"""What the commands `bench`, `doctor`, `explain` and `info` do, for programs to use as well."""
