//! Error codes with their HTTP status, the reasons for which a session ends,
//! and the reasons for a reset.

use crate::wire;

/// The error codes of PROTOCOL.md §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 400: the request is not of the right form or goes beyond a limit.
    BadRequest,
    /// 401: no credential, or one that is not valid.
    Unauthorized,
    /// 403: the user is known, but not allowed to do this.
    Forbidden,
    /// 404: it does not exist, or this user may not know that it does.
    NotFound,
    /// 409: not possible in the present state.
    Conflict,
    /// 413: larger than a limit.
    TooLarge,
    /// 429: too many in a time; `retry_after_ms` says how long to wait.
    RateLimited,
    /// 500: a fault of the server.
    Internal,
    /// 503: the store or every router is out of reach; nothing was
    /// acknowledged.
    Unavailable,
}

impl ErrorCode {
    const ALL: [(Self, &'static str, u16); 9] = [
        (Self::BadRequest, "bad_request", 400),
        (Self::Unauthorized, "unauthorized", 401),
        (Self::Forbidden, "forbidden", 403),
        (Self::NotFound, "not_found", 404),
        (Self::Conflict, "conflict", 409),
        (Self::TooLarge, "too_large", 413),
        (Self::RateLimited, "rate_limited", 429),
        (Self::Internal, "internal", 500),
        (Self::Unavailable, "unavailable", 503),
    ];

    /// All codes, for the tables of metrics and OpenAPI.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|row| row.0)
    }

    /// The text that clients see.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The HTTP status that goes with the code.
    pub fn status(self) -> u16 {
        Self::ALL[self as usize].2
    }

    /// Finds the code of a text; a text that is not known is `Internal`.
    pub fn from_text(text: &str) -> Self {
        Self::ALL.iter().find(|row| row.1 == text).map_or(Self::Internal, |row| row.0)
    }
}

/// Why a session ends: the reasons of `goaway` and of WebSocket close codes
/// (PROTOCOL.md §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The node is stopping.
    Shutdown,
    /// The device has attached elsewhere.
    Replaced,
    /// The token's `exp` has passed.
    TokenExpired,
    /// A backend asked for it (`/v1/kick`).
    Kicked,
    /// Its token was revoked (`/v1/revoke`).
    Revoked,
    /// More than 100 bad frames in a minute.
    BadFrames,
    /// More than 1,000 commands refused as `rate_limited` in a minute.
    RateLimited,
    /// The client was silent for two heartbeats.
    HeartbeatMissed,
    /// The client closed the connection, or is gone.
    Bye,
}

impl End {
    /// The `reason` of the `goaway` frame; `None` where no such frame is sent.
    pub fn goaway(self) -> Option<&'static str> {
        match self {
            Self::Shutdown => Some("shutdown"),
            Self::Replaced => Some("replaced"),
            Self::TokenExpired => Some("token_expired"),
            Self::Kicked => Some("kicked"),
            Self::Revoked => Some("revoked"),
            Self::BadFrames | Self::RateLimited | Self::HeartbeatMissed | Self::Bye => None,
        }
    }

    /// The WebSocket close code: of RFC 6455, or ours from 4400 on.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Bye => 1000,
            Self::Shutdown => 1012,
            Self::BadFrames => 4400,
            Self::TokenExpired => 4401,
            Self::Kicked => 4403,
            Self::HeartbeatMissed => 4408,
            Self::Replaced => 4409,
            Self::Revoked => 4410,
            Self::RateLimited => 4429,
        }
    }

    /// The text of the close frame; also the word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Replaced => "replaced",
            Self::TokenExpired => "token_expired",
            Self::Kicked => "kicked",
            Self::Revoked => "revoked",
            Self::BadFrames => "bad_frames",
            Self::RateLimited => "rate_limited",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::Bye => "bye",
        }
    }
}

/// Why a client must read its conversations again (PROTOCOL.md §4, `reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The cursor is older than everything that is kept.
    Trimmed,
    /// The store lost its last writes and has given their positions to other
    /// events.
    Rewritten,
    /// The reader was too slow for too long.
    Behind,
}

impl ResetReason {
    /// The text that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Rewritten => "rewritten",
            Self::Behind => "behind",
        }
    }
}

impl From<Option<ResetReason>> for wire::ResetReason {
    fn from(reason: Option<ResetReason>) -> Self {
        match reason {
            None => Self::None,
            Some(ResetReason::Trimmed) => Self::Trimmed,
            Some(ResetReason::Rewritten) => Self::Rewritten,
            Some(ResetReason::Behind) => Self::Behind,
        }
    }
}

impl From<wire::ResetReason> for Option<ResetReason> {
    fn from(reason: wire::ResetReason) -> Self {
        match reason {
            wire::ResetReason::None => None,
            wire::ResetReason::Trimmed => Some(ResetReason::Trimmed),
            wire::ResetReason::Rewritten => Some(ResetReason::Rewritten),
            wire::ResetReason::Behind => Some(ResetReason::Behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_text_and_comes_back_from_it() {
        for (code, text, _) in ErrorCode::ALL {
            assert_eq!(code.as_str(), text);
            assert_eq!(ErrorCode::from_text(text), code);
        }
    }
}
