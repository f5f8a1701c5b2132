"""RecordIO files in InsightFace's layout, the verification `.bin`, and the commands that make and check them."""
