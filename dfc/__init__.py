"""dfc: a model-diffing workbench built on Dedicated Feature Crosscoders."""

__version__ = "0.1.0"
