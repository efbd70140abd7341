"""Layers that torch lacks, or that two papers share. Import them from their own modules."""
