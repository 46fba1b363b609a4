"""From folders and generators to batches: sources, samples, targets, augmentation."""
