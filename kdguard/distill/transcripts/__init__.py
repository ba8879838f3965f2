"""Transcripts: what a teacher or a suspect answered, with its tokens, in a folder that survives a crash."""
