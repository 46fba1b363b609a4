"""Takes models that were trained elsewhere: Keras 2 and 3, SavedModel, TFLite, ONNX."""
