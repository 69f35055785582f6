"""Arbitrary JSON where rows of the API are expected."""

from hypothesis import strategies as st

from pdframe.fields import read_fields
from tests.helpers.frames_material import REGION, REGIONS, field, kinds

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.text(st.characters(categories=["Cs", "Cc"]), max_size=2)
    | st.sampled_from(
        [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-02-30",
            "0000-00-00",
            "01:00:00",
            "3",
            2**70,
            "67340.0",
            "1,2",
            "true",
            " 1 ",
            "2026-01-01 00:00:00",
            "EUR",
            [1, 2],
            [{"value": 1, "primary": True}],
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["value", "currency", "until", "country", "odd", "Odd", "\ud800", ""]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
ALL_FIELDS = read_fields(
    [
        *kinds(),
        field(REGION, "title", "enum", options=REGIONS),
    ]
)


@st.composite
def rows_of(draw, table):
    names = st.sampled_from(
        [column.path.partition(".")[0] for column in table.columns]
        + ["strange", "Strange", "ID", "\0", "\udfff", "owner_name"]
    )
    codes = st.sampled_from([one.code for one in ALL_FIELDS] + ["e" * 40, "title", ""])
    row = st.dictionaries(names, JSON_VALUES, max_size=8)
    custom = st.dictionaries(codes, JSON_VALUES, max_size=6) | JSON_VALUES
    return draw(
        st.lists(
            st.builds(lambda base, bag: base | {"custom_fields": bag}, row, custom) | JSON_VALUES,
            max_size=6,
        )
    )
