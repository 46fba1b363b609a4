"""Figures that were measured on a GPU, for tests on machines without one."""

MEASURED = {
    ("default", 1): (0.1244, 0.3475),
    ("default", 2): (0.3676, 0.6066),
    ("default", 4): (0.6973, 0.3435),
    ("default", 8): (0.9326, 0.4568),
    ("default", 32): (3.43, 0.5179),
    ("default", 64): (10.8, 0.8688),
    ("default", 1024): (133.2, 6.593),
    ("default, float", 1): (0.2725, 0.2799),
    ("default, float", 2): (0.5147, 0.2779),
    ("default, float", 8): (2.01, 0.2603),
    ("default, float", 32): (8.15, 0.3307),
    ("default, float", 1024): (286.9, 4.964),
    ("crnn", 1): (1.357, 2.389),
    ("crnn", 2): (2.505, 3.274),
    ("crnn", 4): (4.807, 3.722),
    ("crnn", 8): (9.361, 3.575),
}
"""Milliseconds of a run on one thread and on CUDA as the runtime uses it, by model and batch size:
rows of benchmarks/results/gpu.json, measured on an H100."""

START = 0.6  # seconds that a process with CUDA starts later, by the same file
