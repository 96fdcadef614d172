"""What a layer is: shapes, index maps, a NumPy reference, ONNX operators. No torch and no onnx import."""
