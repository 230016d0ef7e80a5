"""Tables for notebooks: text is never markup."""

from __future__ import annotations

from trunkproof.models.html import html_table


def test_text_is_escaped() -> None:
    table = html_table(("<a>",), [("<script>",), (3,)], caption="x & y")
    assert "<caption>x &amp; y</caption>" in table
    assert "<th>&lt;a&gt;</th>" in table
    assert "<td>&lt;script&gt;</td>" in table
    assert "<td>3</td>" in table
