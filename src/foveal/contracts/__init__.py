"""The rules that foveal's parts keep, as public functions for your own networks, formats, protocols and methods."""

from foveal.contracts.format import check_format
from foveal.contracts.method import check_method
from foveal.contracts.model import check_model
from foveal.contracts.protocol import check_protocol
from foveal.contracts.report import Check, Report

check = check_model  # the public verb `foveal.check`

__all__ = ["Check", "Report", "check", "check_format", "check_method", "check_model", "check_protocol"]
