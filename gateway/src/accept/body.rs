//! Bodies of requests, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;

/// For the last byte of a request's body.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ungathered<E> {
    /// It has more bytes than it may, or says so.
    TooLarge,
    /// It has not arrived in time.
    Late,
    /// The client has gone in the middle.
    Broken,
    /// There is no room for what has come of it.
    NoRoom(E),
}

/// The whole body. `hold` is told how many bytes of it are held while it is on its
/// way; not called where it comes in one piece.
pub async fn gather<E>(
    body: Body,
    most: usize,
    hold: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, Ungathered<E>> {
    let gathering = tokio::time::timeout(TIMEOUT, gather_pieces(body, most, hold));
    gathering.await.unwrap_or(Err(Ungathered::Late))
}

async fn gather_pieces<E>(
    mut body: Body,
    most: usize,
    mut hold: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, Ungathered<E>> {
    if body.size_hint().lower() > most as u64 {
        return Err(Ungathered::TooLarge);
    }
    // Most bodies come in one piece, which is used as it is. Of others the pieces
    // are copied: each may be a small part of the room that it was read into.
    let (mut piece, mut gathered) = (Bytes::new(), Vec::new());
    while !body.is_end_stream() {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                gathered.extend_from_slice(&std::mem::take(&mut piece));
                hold(gathered.capacity()).map_err(Ungathered::NoRoom)?;
                body.frame().await
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Ungathered::Broken)?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len() + piece.len() + data.len() > most {
            return Err(Ungathered::TooLarge);
        }
        gathered.extend_from_slice(&std::mem::replace(&mut piece, data));
    }
    if gathered.is_empty() {
        return Ok(piece);
    }
    gathered.extend_from_slice(&piece);
    Ok(gathered.into())
}
