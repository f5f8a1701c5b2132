"""The paper's claim on real faces: which systems are trained and how (`plan`), a resumable runner, scores."""
