"""The views of an account, and the static report that is made of them."""

from pdframe.dashboard import page, state, views

__all__ = ["page", "state", "views"]
