"""A corpus of bodies that readers of JSON stumble over, each where a page is expected. What must
come of them says `second_page.check`.
"""

from __future__ import annotations

LONG = 60_000

NUMBERS = [
    b"-0", b"0.0", b"1.0", b"1e2", b"1E400", b"-1e-400", b"9223372036854775807",
    b"9223372036854775808", b"-9223372036854775809",
    b"1" * 400, b"9" * 5_000, b"0." + b"3" * 5_000, b"01", b"1.", b".5", b"+1", b"0x10", b"NaN",
    b"-Infinity", b"1e", b"--1", b"1_000",
]  # fmt: skip
TEXTS = [
    b'""', rb'"\u0000"', rb'"\ud800"', rb'"\udc00\ud800"', rb'"\ud83d\ude00"', rb'"\u202egnp.exe"',
    b'"\xff\xfe"', b'"\xc0\xaf"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"', b'"\xc3"', b'"\x00"', b'"\x1f"', b'"\n"', rb'"\x41"', rb'"\u12"', b'"\\',
    b"'single'",
    b'"' + b"x" * LONG + b'"',
    b'"' + rb"\u00e9" * LONG + b'"', b'"=cmd|\' /C calc\'!A0"', b'"<script>alert(1)</script>"',
    b'"2026-02-30T25:61:00Z"',
    b'"9999-12-31T23:59:60Z"',
    b'"-0001-01-01"', b'"\xe2\x80\xa8"', b'"\xf3\xa0\x81\x81"',
]  # fmt: skip
DEEP = [
    open_ * depth + close * depth
    for open_, close in ((b"[", b"]"), (b'{"value":', b"}"))
    for depth in (50, 99, 151, 900, 990, 5_000, LONG)
]
OTHERS = [
    b"null", b"true", b"false", b"[]", b"{}", b"[[[]]]", b'{"value":null,"currency":null}',
    b'{"value":{"value":1},"currency":["EUR"]}',
    b'[{"value":1,"primary":"yes"},{"value":[],"primary":2},null,7]', b"nul", b"True", b"undefined",
    b"", b",", b"[1,]", b"[1 2]",
    b"{1:2}", b'{"a"}',
    b"[1", b"1]", b'{"value":1', b"// remark\n1", b"/* remark */ 1",
]  # fmt: skip
VALUES = [*NUMBERS, *TEXTS, *DEEP, *OTHERS]

ROW = (
    b'{"id": 900, "field_code": "nasty", "name": %s, "custom_fields": {"%s": %s}, "add_time": %s,'
    b' "emails": %s}'
)
PAGE = b'{"success": true, "data": [%s], "additional_data": {"next_cursor": null}}'
GOOD = b'{"id": 901, "field_code": "good", "name": "good"}'

ROWS = [
    b"", b"null", b"7", b"[]", b"{}", b'"text"', GOOD + b"," + GOOD, GOOD + b",", b"," + GOOD,
    GOOD + b" " + GOOD, b"null," + GOOD,
    GOOD + b",[]",
    b'{"id": 902, "id": 903, "field_code": "first", "field_code": "second"}',
    b'{"id": null, "field_code": null}',
    b'{"id": "904", "field_code": 904}',
    b'{"id": -1, "field_code": "-1"}', b'{"id": 0, "field_code": " "}',
    b'{"": 1, "id": 905, "field_code": "empty"}',
    b'{"k0": 1, "k1": 2, "id": 906, "field_code": "slots"}',
    b'{"__class__": 1, "self": 2, "id": 907, "field_code": "names"}',
    rb'{"\u0069d": 908, "field_cod\u0065": "escaped"}',
    rb'{"\ud800": 1, "id": 909, "field_code": "half"}',
    b'{"\xff": 1, "id": 910, "field_code": "bytes"}',
    b'{"id": 911, "field_code": "bag", "custom_fields": []}',
    b'{"id": 912, "field_code": "bag", "custom_fields": {"": {}}}',
    b'{"id": 913, "field_code": "many", ' + b", ".join(b'"key %d": %d' % (n,
    n) for n in range(3_000)) + b"}",
    b",".join(b'{"id": %d, "field_code": "n%d", "key %d": 1}' % (n, n,
    n % 700) for n in range(2_000, 5_000)),
    b'{"id": 914, "field_code": "parts", "org_id": {"value": 1}, "owner_id": {"id": 1}, '
    b'"custom_fields": {"x": {"value": {}}}}',
]  # fmt: skip

BODIES = [
    b"", b" ", b"\n\n", b"\x00", b"\xef\xbb\xbf" + PAGE % GOOD, b"\xef\xbb\xbf",
    b"\xef\xbb\xbf\xef\xbb\xbf" + PAGE % GOOD,
    PAGE % b'{"id": null}, {"name": "no id"}',
    PAGE % b'{"result_score": 1, "item": {"id": 5, "type": "deal"}}',
    PAGE % b'{"field": "of a changelog"}', PAGE % (b"[" * 5_000 + b"]" * 5_000),
    b'{"success": true, "data": [' + GOOD + b'], "more": '
    + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"success": true, "data": [' + GOOD + b'], "additional_data": ' + b'{"a":' * 5_000 + b"1"
    + b"}" * 5_001,
    b'{"success": true, "data": [' + GOOD + b'], "additional_data": {"next_cursor": "'
    + b"c" * 10_000_000 + b'"}}',
    (PAGE % GOOD).decode().encode("utf-16"), PAGE % GOOD + b"\n",
    PAGE % GOOD + b"x",
    PAGE % GOOD + PAGE % GOOD, b"[" + PAGE % GOOD + b"]", b"null", b"[]", b"{}", b"<html>",
    b'"text"', b"17", b")]}',\n" + PAGE % GOOD,
    (PAGE % GOOD)[:-1],
    (PAGE % GOOD)[:40], b"[" * LONG, b'{"data":' * LONG, b'{"success": true}', b'{"data": []}',
    b'{"success": true, "data": null}',
    b'{"success": true, "data": {}}', b'{"success": true, "data": {"items": []}}',
    b'{"success": true, "data": {"items": 3}}',
    b'{"success": true, "data": "rows"}', b'{"success": true, "data": 3}',
    b'{"success": true, "data": [' + GOOD + b'], "data": []}',
    b'{"success": true, "data": [], "data": [' + GOOD + b"]}",
    b'{"success": true, "success": false, "data": []}',
    b'{"success": false, "data": []}',
    b'{"success": false, "success": true, "data": []}',
    b'{"success": false, "error": "\xff\\u0000<b>", "error_info": 3, "data": null}',
    *(b'{"success": %s, "data": [%s]}' % (value, GOOD) for value in (b'"true"', b"1", b"0", b"null",
    b"[]", b"{}")),
    *(b'{"success": true, "data": [%s], "additional_data": %s}' % (GOOD, more) for more in (
        b"null", b"[]", b"{}", b'""', b"0", b'"more"', b"[1]", b'{"next_cursor": ""}',
        b'{"next_cursor": 0}', b'{"next_cursor": false}',
        b'{"next_cursor": "second"}', b'{"next_cursor": "third"}', b'{"next_cursor": {"a": 1}}',
        b'{"next_cursor": null, "next_cursor": "second"}',
        b'{"next_cursor": "second", "next_cursor": null}', rb'{"next_cursor": "\ud800"}',
        b'{"next_cursor": "' + b"c" * LONG + b'"}',
        b'{"pagination": {"more_items_in_collection": true}}', b'{"pagination": 3}',
        b'{"more_items_in_collection": true}',
        b'{"next_cursor": "\\r\\nx-api-token: other"}', b'{"next_cursor": "../../users/me?x="}',
    )),
]  # fmt: skip


def corpus(code: bytes) -> list[bytes]:
    """All bodies; `code` is that of a custom field."""
    cells = [ROW % (value, code, value, value, value) for value in VALUES]
    return [
        *BODIES,
        *(PAGE % rows for rows in ROWS),
        *(PAGE % (GOOD + b"," + row) for row in cells),
    ]
