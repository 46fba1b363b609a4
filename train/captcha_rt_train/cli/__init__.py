"""The commands of this distribution, a file each: `train`, `label`, `samples`, `dataset`, ..."""
