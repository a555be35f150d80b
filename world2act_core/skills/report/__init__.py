"""The report on a skill dataset: how many episodes could be split, how the clips look, what became of the rest."""

from world2act_core.skills.report.console import as_text
from world2act_core.skills.report.page import write_report
from world2act_core.skills.report.summary import Summary, summarise

__all__ = ["Summary", "as_text", "summarise", "write_report"]
