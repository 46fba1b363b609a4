"""The commands of this distribution, a file each: `train`, `samples`, `dataset`, `suspects`."""
