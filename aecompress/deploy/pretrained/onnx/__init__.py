"""ONNX graphs of any exporter: constants folded, moves of values followed, operators matched to steps."""
