"""Miura from Python: compiled models, by their C interface."""
from .artifact import Artifact, ArtifactError, Session

__all__ = ["Artifact", "ArtifactError", "Session"]
