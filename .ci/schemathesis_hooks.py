"""Texts of forms that a pattern cannot say, for schemathesis."""

import string

import schemathesis
from hypothesis import strategies as st

USER = st.text(string.ascii_letters + string.digits + "._@-", min_size=1, max_size=64)

# The two users of a direct conversation stand in byte order.
schemathesis.openapi.format("conversation", st.tuples(USER, USER).map(lambda pair: "~".join(sorted(pair))))
# Its limit is in bytes.
schemathesis.openapi.format("emoji", st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text))
# Places as the server gives them.
PLACE = st.builds("{}.{}".format, st.integers(0, 9), st.text(string.digits + "abc", min_size=1, max_size=4))
schemathesis.openapi.format("cursor", PLACE)
schemathesis.openapi.format("start", PLACE | st.just("start"))
schemathesis.openapi.format("page", st.integers(0, 9).map(str))
