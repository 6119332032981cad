"""tinyml: trained int8 networks to verified firmware for microcontrollers."""

__all__ = ["__version__"]

__version__ = "0.1.0"
