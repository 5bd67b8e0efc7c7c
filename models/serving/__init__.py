"""What scores a night: a version's files, ONNX sessions, users, and the ranker. No torch."""
