"""From the fine-tuned encoder to the small one: pruning, distillation, ONNX."""
