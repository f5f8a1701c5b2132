"""The paper's claim on real faces: which systems are trained and how (`plan`), a runner that can be stopped, scores."""
