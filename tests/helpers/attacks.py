"""Text of an account that attacks a page."""

from __future__ import annotations

ATTACK = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"
