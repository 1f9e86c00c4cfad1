//! The fuzz targets of this crate (`fuzz/`): each takes any bytes, and panics where a
//! rule is broken. Built for tests and for fuzzing alone.

pub use crate::embedded::journals;
#[cfg(feature = "redis")]
pub use crate::redis::fuzzing::{envelopes, replies, stored};

#[cfg(test)]
mod tests {
    use testbed::kept_inputs::try_all;

    #[test]
    fn journals() {
        try_all("journals", super::journals);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn envelopes() {
        try_all("envelopes", super::envelopes);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn replies() {
        try_all("replies", super::replies);
    }

    #[cfg(feature = "redis")]
    #[test]
    fn stored() {
        try_all("stored", super::stored);
    }
}
