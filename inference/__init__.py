"""A checkpoint made ready to embed images, on any devices: what verification, deployment and data tools share."""
