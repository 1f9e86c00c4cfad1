"""Texts of forms that a pattern cannot say, for schemathesis."""

import string

import schemathesis
from hypothesis import strategies as st

USER = st.text(string.ascii_letters + string.digits + "._@-", min_size=1, max_size=64)

# Where there are messages; or the two users of a direct conversation, in byte order.
ANY = st.tuples(USER, USER).map(lambda pair: "~".join(sorted(pair)))
schemathesis.openapi.format("conversation", st.just("alice~bob") | ANY)
# Its limit is in bytes.
schemathesis.openapi.format("emoji", st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text))
# At most 256 bytes, which a schema cannot say: it counts characters.
schemathesis.openapi.format(
    "jti", st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64)
)
# Places as the server gives them.
PLACE = st.builds("{}.{}".format, st.integers(0, 9), st.integers(1, 999))
schemathesis.openapi.format("cursor", PLACE)
schemathesis.openapi.format("start", PLACE | st.just("start"))
schemathesis.openapi.format("page", st.integers(0, 9).map(str))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Acts as the token's own user, who is in the conversations that there are.

    A request of another user is refused at once; that is checked with requests
    that are wrong in some way, which keep theirs.
    """
    meta = case.meta
    if meta is not None and meta.generation.mode.is_positive and case.query:
        case.query.pop("as", None)
