"""Arithmetic of boxes: overlap, coding, reference boxes, matching, suppression, pooling. No network lives here."""
