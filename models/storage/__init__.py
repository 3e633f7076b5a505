"""The artefact, and the store that keeps its versions."""
