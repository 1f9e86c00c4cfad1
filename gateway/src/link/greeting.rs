//! What a gateway and a router say first when a link opens: their form. A router
//! that does not go with this gateway is as good as none; it says why, and is asked
//! again with growing pauses, until one of the two is another release.

use proto::form::{FORM, HEADER, greet};
use proto::wire::Replies;
use tonic::{Request, Response, Status, Streaming};

use super::outbound::Outbound;

/// The request that opens a link.
pub(super) fn greeting(outbound: Outbound) -> Request<Outbound> {
    let mut request = Request::new(outbound);
    let form = FORM.to_string().parse().expect("digits and a point are visible ASCII");
    request.metadata_mut().insert(HEADER, form);
    request
}

/// The replies of a router, if its form goes with ours.
pub(super) fn greeted(response: Response<Streaming<Replies>>) -> Result<Streaming<Replies>, Status> {
    let said = response.metadata().get(HEADER).map(|said| said.to_str().unwrap_or_default());
    greet("router", said).map_err(Status::failed_precondition)?;
    Ok(response.into_inner())
}
