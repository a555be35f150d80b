"""How results are shown to a person: one page that needs nothing else, charts, rates with their intervals."""

from world2act_core.pages.page import Page, encode_png

__all__ = ["Page", "encode_png"]
