"""Deployment: a trained model as ONNX, as a slim or an 8-bit model, and embeddings of photographs."""
