"""The machine: device, memory, threads, files, progress, randomness."""
