"""Verification sets, InsightFace's `.bin`, read without executing what a pickle asks for."""
