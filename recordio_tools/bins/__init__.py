"""Verification sets, InsightFace's `.bin`, read without executing the pickle."""
