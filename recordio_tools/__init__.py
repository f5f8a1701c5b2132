"""Data tools: the RecordIO files of InsightFace's layout, the verification `.bin`, and what makes and checks them."""
