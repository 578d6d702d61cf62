"""The problems: one convolution, the layers of networks by name and of ONNX models, benchdnn batch files."""
