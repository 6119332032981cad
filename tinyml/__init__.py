"""tinyml: trained int8 networks to verified firmware for microcontrollers."""
